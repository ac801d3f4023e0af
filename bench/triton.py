"""`python -m bench.triton`: a real tritonserver on what `poolfold deploy triton` wrote, every answer checked.

MiniLM on the CPU; 32 clients by gRPC and by HTTP, ragged texts, one a request. Then the server is killed under load and
started again, and then it runs with little memory. Writes bench/results/triton.json.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import poolfold
from bench.exports import export_ours, versions
from bench.models import installed_minilm
from bench.service.__main__ import texts
from bench.systems import OURS
from bench.tritonserver import TRITON, asked, asking, install, parsed, serving
from exporter.commands.cli import run_command
from exporter.host.environment import environment

RESULTS = Path("bench/results/triton.json")
_BUILD, _LOG = Path("build/bench/triton"), Path("build/bench/triton/log.txt")


def main() -> None:
    """Run all phases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000, help="of each protocol (default: 5000)")
    given = parser.parse_args()
    _BUILD.mkdir(parents=True, exist_ok=True)
    python = install()
    artifact, repository, on_gpu = (_BUILD / name for name in ("minilm", "models", "models-gpu"))
    export_ours(installed_minilm(), artifact, OURS[:1], ("mean",))
    for place, more in ((repository, ()), (on_gpu, ("--gpu",))):
        if run_command(["deploy", "triton", str(artifact), "-o", str(place), "--force", *more]):
            sys.exit(1)
    sentences = texts()
    with poolfold.load(artifact) as encoder:
        np.save(_BUILD / "wanted.npy", encoder.encode(sentences))
    (_BUILD / "texts.json").write_text(json.dumps(sentences))
    result: dict[str, Any] = {"command": f"python -m bench.triton {' '.join(sys.argv[1:])}".strip()}
    result["parsed"] = [name for place in (repository, on_gpu) for name in parsed(place)]
    with serving(repository, _LOG) as server:
        for protocol in ("grpc", "http"):
            result[protocol] = asked(server, protocol, given.requests, _BUILD)
        statm = Path(f"/proc/{server.process.pid}/statm").read_text()
        result["server_mib"] = int(statm.split()[1]) * os.sysconf("SC_PAGESIZE") >> 20
        print(json.dumps(result), file=sys.stderr)
        with asking(server, "grpc", 100_000, _BUILD, "--until-lost") as client:
            time.sleep(5)
            server.kill()
            result["killed"] = json.loads(client.communicate(timeout=120)[0])
    with serving(repository, _LOG) as server:
        result["started_again"] = asked(server, "grpc", 500, _BUILD)
    for mib in (600, 450, 350):
        try:
            with serving(repository, _LOG, mib << 20) as server:
                found = asked(server, "grpc", given.requests // 5, _BUILD, "--until-lost")
                result[f"within_{mib}_mib"] = {**found, "server_ended": server.process.poll() is not None}
        except RuntimeError as error:
            result[f"within_{mib}_mib"] = {"not_started": str(error)}
        print(json.dumps(result), file=sys.stderr)
    result |= {"environment": environment(), "versions": versions(TRITON, python.parent)}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "environment"}, indent=1))
    wrong = [name for name, of in result.items() if isinstance(of, dict) and of.get("wrong")]
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
