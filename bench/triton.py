"""`python -m bench.triton`: a real tritonserver on what `poolfold deploy triton` wrote, every answer checked.

MiniLM on the CPU; 32 clients by gRPC and by HTTP, ragged texts, one a request. Then the server is killed under load and
started again, and then it runs with little memory. Writes bench/results/triton.json.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import poolfold
from bench.exports import Environment, environment_of, export_ours, versions
from bench.models import installed_minilm
from bench.service.__main__ import texts
from bench.systems import OURS
from exporter.commands.cli import run_command
from exporter.host.environment import environment

RESULTS = Path("bench/results/triton.json")
TRITON = Environment(
    (("nvidia-pytriton==0.7.0", "tritonclient[all]"), (".",)),
    ("nvidia-pytriton", "tritonclient", "onnxruntime", "numpy"),
)
_BUILD = Path("build/bench/triton")
_PORTS = (18_000, 18_001, 18_002)
_READY_S = 120
_PARSE = """
import sys
from pathlib import Path
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig
for path in sorted(Path(sys.argv[1]).glob("*/config.pbtxt")):
    print(text_format.Parse(path.read_text(), ModelConfig()).name)
"""


def install_server(python: Path) -> Path:
    """The wheel's server, with the stub of its environment's Python beside the backend."""
    packages = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], text=True
        ).strip()
    )
    place = _BUILD / "server"
    if not place.exists():
        for name in ("bin", "backends"):
            shutil.copytree(packages / "pytriton" / "tritonserver" / name, place / name)
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        stub = packages / "pytriton" / "tritonserver" / "python_backend_stubs" / version / "triton_python_backend_stub"
        shutil.copy(stub, place / "backends" / "python")
        for file in (place / "backends" / "python" / stub.name, place / "bin" / "tritonserver"):
            file.chmod(0o755)
    return packages


@contextlib.contextmanager
def serving(python: Path, repository: Path, limit_bytes: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A server that is ready, in a group of its own with its stubs."""
    packages = install_server(python)
    libraries = [str(packages / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR")]
    changes = {
        "LD_LIBRARY_PATH": ":".join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")]),
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }
    server = (_BUILD / "server").absolute()
    command = [str(server / "bin" / "tritonserver"), f"--model-repository={repository.absolute()}"]
    command += [f"--backend-directory={server / 'backends'}", "--exit-on-error=true"]
    for kind, port in zip(("http", "grpc", "metrics"), _PORTS, strict=True):
        command += [f"--{kind}-address=127.0.0.1", f"--{kind}-port={port}"]

    def limited() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))

    with (_BUILD / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command, env=os.environ | changes, stdout=log, stderr=log, start_new_session=True, preexec_fn=limited
        )
        try:
            until = time.monotonic() + _READY_S
            while True:
                with (
                    contextlib.suppress(OSError),
                    urllib.request.urlopen(f"http://127.0.0.1:{_PORTS[0]}/v2/health/ready", timeout=2),
                ):
                    break
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"tritonserver is not ready; {_BUILD / 'log.txt'} tells why")
                time.sleep(0.2)
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def asked(python: Path, requests: int, protocol: str, *more: str) -> dict[str, Any]:
    """What bench/triton_client.py found."""
    command = [
        str(python),
        str(Path(__file__).with_name("triton_client.py")),
        protocol,
        str(requests),
        str(_BUILD),
        *more,
    ]
    return json.loads(subprocess.check_output(command, text=True))  # type: ignore[no-any-return]


def main() -> None:
    """Run all phases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=5000, help="of each protocol (default: 5000)")
    given = parser.parse_args()
    _BUILD.mkdir(parents=True, exist_ok=True)
    python = environment_of(TRITON, Path("build/triton-venv")) / "python"
    artifact, repository = _BUILD / "minilm", _BUILD / "models"
    export_ours(installed_minilm(), artifact, OURS[:1], ("mean",))
    for place, more in ((repository, ()), (_BUILD / "models-gpu", ("--gpu",))):
        if run_command(["deploy", "triton", str(artifact), "-o", str(place), "--force", *more]):
            sys.exit(1)
    sentences = texts()
    with poolfold.load(artifact) as encoder:
        np.save(_BUILD / "wanted.npy", encoder.encode(sentences))
    (_BUILD / "texts.json").write_text(json.dumps(sentences))
    result: dict[str, Any] = {"command": f"python -m bench.triton {' '.join(sys.argv[1:])}".strip()}
    result["parsed"] = [
        name
        for place in (repository, _BUILD / "models-gpu")
        for name in subprocess.check_output([python, "-c", _PARSE, str(place)], text=True).split()
    ]
    with serving(python, repository) as process:
        result["grpc"] = asked(python, given.requests, "grpc")
        result["http"] = asked(python, given.requests, "http")
        resident = int((Path(f"/proc/{process.pid}/statm").read_text()).split()[1]) * os.sysconf("SC_PAGESIZE") >> 20
        result["server_mib"] = resident
        print(json.dumps(result), file=sys.stderr)
        client = subprocess.Popen(
            [
                str(python),
                str(Path(__file__).with_name("triton_client.py")),
                "grpc",
                "100000",
                str(_BUILD),
                "--until-lost",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        time.sleep(5)
        os.killpg(process.pid, signal.SIGKILL)
        result["killed"] = json.loads(client.communicate(timeout=120)[0])
    with serving(python, repository):
        result["started_again"] = asked(python, 500, "grpc")
    for mib in (600, 450, 350):
        try:
            with serving(python, repository, mib << 20) as process:
                found = asked(python, given.requests // 5, "grpc", "--until-lost")
                result[f"within_{mib}_mib"] = {**found, "server_ended": process.poll() is not None}
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
