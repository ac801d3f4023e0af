"""`python -m bench.service.workers`: what a service makes of a machine's cores, by threads and by processes.

64 clients, in turns: one worker with all cores, as many workers as cores in one process, and a process for each core
whose clients are its own share. Every answer is checked. Writes bench/results/workers.json and prints a table.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import poolfold
from bench import markdown
from bench.exports import export_ours
from bench.models import installed_minilm
from bench.service.__main__ import texts
from bench.service.clients import Found, load
from bench.service.systems import Serving, ours
from bench.systems import OURS
from exporter.host.environment import busy_share, environment
from exporter.measure.quartiles import quartiles
from poolfold.sessions.threads import default_threads

RESULTS = Path("bench/results/workers.json")
_ARTIFACT = Path("build/bench/service/artifact")
_CLIENTS = 64


def ways(cores: int) -> dict[str, tuple[int, tuple[str, ...]]]:
    """What is compared -> how many processes, and the options of each."""
    return {
        f"one worker of {cores} threads": (1, ("--workers", "1", "--threads", str(cores))),
        f"{cores} workers of one thread": (1, ("--workers", str(cores), "--threads", "1")),
        f"{cores} processes of one thread": (cores, ("--workers", "1", "--threads", "1")),
    }


async def together(
    services: Sequence[Serving],
    asked: Sequence[str],
    wanted: npt.NDArray[np.float32],
    *,
    clients: int,
    seconds: float,
    seed: int,
) -> Found:
    """All clients at once, each service with an equal share of them, as one."""
    share = clients // len(services)
    parts = await asyncio.gather(
        *(
            load(serving.place, asked, wanted, clients=share, seconds=seconds, seed=seed * len(services) + number)
            for number, serving in enumerate(services)
        )
    )
    whole = Found(window=seconds)
    for part in parts:
        whole.seconds += part.seconds
        whole.wrong, whole.lost = whole.wrong + part.wrong, whole.lost + part.lost
        whole.statuses += part.statuses
    return whole


def measured(artifact: Path, asked: Sequence[str], *, cores: int, rounds: int, seconds: float) -> list[dict[str, Any]]:
    """A row for each way."""
    with poolfold.load(artifact) as encoder:
        wanted = encoder.encode(asked)
    with ExitStack() as open_:
        services = {
            name: [open_.enter_context(ours(artifact, *options)) for _ in range(count)]
            for name, (count, options) in ways(cores).items()
        }
        windows: dict[str, list[Found]] = {name: [] for name in services}
        for turn in range(rounds):
            for name, of in services.items():
                found = asyncio.run(together(of, asked, wanted, clients=_CLIENTS, seconds=seconds, seed=turn))
                windows[name].append(found)
                print(f"{name}: {found.rate:.0f} texts/s", file=sys.stderr)
        peaks = {name: sum(serving.peak_mib for serving in of) for name, of in services.items()}
    return [
        {
            "way": name,
            "rate": asdict(quartiles([of.rate for of in found])),
            "p99_ms": asdict(quartiles([of.at(0.99) for of in found])),
            "answers": sum(len(of.seconds) for of in found),
            "wrong": sum(of.wrong for of in found),
            "lost": sum(of.lost for of in found),
            "peak_mib": peaks[name],
        }
        for name, found in windows.items()
    ]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A row for each way."""

    def spread(of: dict[str, float]) -> str:
        return f"{of['median']:.0f} [{of['q1']:.0f}, {of['q3']:.0f}]"

    return markdown.table(
        ["64 clients", "texts/s", "p99 ms", "wrong or lost", "MiB in all"],
        (
            [row["way"], spread(row["rate"]), spread(row["p99_ms"]), row["wrong"] + row["lost"], row["peak_mib"]]
            for row in rows
        ),
    )


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--seconds", type=float, default=8, help="of a window (default: 8)")
    parser.add_argument("--kept", action="store_true", help="take the artifact that was exported before")
    given = parser.parse_args()
    if not given.kept:
        export_ours(installed_minilm(), _ARTIFACT, OURS, ("mean",))
    cores, busy = default_threads(), busy_share()
    rows = measured(_ARTIFACT, texts(), cores=cores, rounds=given.rounds, seconds=given.seconds)
    result = {
        "command": f"python -m bench.service.workers {' '.join(sys.argv[1:])}".strip(),
        "ways": rows,
        "cores": cores,
        "busy": busy,
        "environment": environment(),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(table(rows))
    sys.exit(any(row["wrong"] + row["lost"] for row in rows))


if __name__ == "__main__":
    main()
