"""`make bench-service`: services over MiniLM under load, in interleaved windows, every answer checked.

Clients that each ask again once they have an answer: 1, 8, 64 and 512 of them, one text a request, of ragged lengths.
Clients and service share the machine's cores. Writes bench/results/service.json and docs/service.md's table.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import poolfold
from bench import markdown
from bench.docstrings import paragraphs, sentences
from bench.exports import INFINITY, environment_of, export_ours, versions
from bench.models import installed_minilm
from bench.service.clients import Found, load
from bench.service.systems import Serving, infinity, ours, plain
from bench.systems import OURS
from exporter.host.environment import busy_share, environment
from exporter.measure.quartiles import quartiles
from poolfold.sessions.threads import default_threads

RESULTS, PAGE = Path("bench/results/service.json"), Path("docs/service.md")
BEGIN, END = "<!-- what `make bench-service` measured: begin -->", "<!-- what `make bench-service` measured: end -->"
CLIENTS = (1, 8, 64, 512)
ALONE = "encode, without a service"
_BUILD = Path("build/bench/service")
_LIBRARIES = ("sklearn", "scipy", "networkx", "matplotlib")
_TEXTS = 2000
_INFINITY = Path("build/infinity-venv")


def texts() -> list[str]:
    """Half of them sentences, half paragraphs."""
    short, long = sentences(_LIBRARIES), paragraphs(_LIBRARIES)
    return [text for pair in zip(short, long, strict=False) for text, _ in pair][:_TEXTS]


def measured(
    systems: Sequence[tuple[str, Callable[[], AbstractContextManager[Serving]]]],
    asked: Sequence[str],
    artifact: Path,
    *,
    clients: Sequence[int],
    rounds: int,
    seconds: float,
    threads: int,
) -> dict[str, Any]:
    """Windows of every system, in turns."""
    with poolfold.load(artifact) as encoder:
        wanted = encoder.encode(asked)
    (_BUILD / "texts.json").write_text(json.dumps(asked))
    windows: dict[str, dict[int, list[Found]]] = {}
    failed: dict[str, str] = {}
    with ExitStack() as open_:
        services = []
        for name, start in systems:
            try:
                services.append(open_.enter_context(start()))
            except (RuntimeError, OSError) as error:
                failed[name] = str(error)
        for count in clients:
            for turn in range(rounds):
                for serving in services[turn % len(services) :] + services[: turn % len(services)]:
                    found = asyncio.run(
                        load(serving.place, asked, wanted, clients=count, seconds=_window(count, seconds), seed=turn)
                    )
                    windows.setdefault(serving.name, {}).setdefault(count, []).append(found)
                    print(_line(serving.name, count, found), file=sys.stderr)
                if count == 1:
                    windows.setdefault(ALONE, {}).setdefault(1, []).append(_alone(artifact, threads, seconds))
        peaks = {serving.name: serving.peak_mib for serving in services}
    return {
        "systems": [
            {"system": name, "peak_mib": peaks.get(name), "clients": {n: _kept(found) for n, found in of.items()}}
            for name, of in windows.items()
        ],
        "failed": failed,
    }


def page_table(result: dict[str, Any]) -> str:
    """What stands between the markers of docs/service.md."""
    rows = []
    for system in result["systems"]:
        for count, of in system["clients"].items():
            rows.append(
                [
                    count,
                    system["system"],
                    _spread(of["rate"], 0),
                    *(_spread(of[name], 1) for name in ("p50_ms", "p99_ms")),
                    of["wrong"] + of["lost"] + of["refused"],
                    system["peak_mib"] or "",
                ]
            )
    rows.sort(key=lambda row: int(row[0]))
    machine = result["environment"]
    told = (
        f"Median [quartiles] of {result['rounds']} rounds of {result['seconds']:.0f} s and more, interleaved; "
        f"{machine['cpu']}, {result['threads']} cores, which clients and service share. *MiB*: the most that the "
        "service's process held."
    )
    missing = [f"{name} did not run: {why}." for name, why in result["failed"].items()]
    heads = ["clients", "service", "texts/s", "p50 ms", "p99 ms", "wrong, lost or refused", "MiB"]
    return "\n\n".join([told, markdown.table(heads, rows), *missing])


def _window(clients: int, seconds: float) -> float:
    """So many clients wait for each other for seconds: their windows are longer."""
    return seconds * (3 if clients >= CLIENTS[-1] else 1)


def _alone(artifact: Path, threads: int, seconds: float) -> Found:
    command = [sys.executable, "-m", "bench.service.alone", str(artifact), str(threads), str(seconds)]
    done = subprocess.run([*command, str(_BUILD / "texts.json")], check=True, capture_output=True, text=True)
    return Found(json.loads(done.stdout), window=seconds)


def _kept(windows: Sequence[Found]) -> dict[str, Any]:
    return {
        "rate": asdict(quartiles([found.rate for found in windows])),
        "p50_ms": asdict(quartiles([found.at(0.5) for found in windows])),
        "p99_ms": asdict(quartiles([found.at(0.99) for found in windows])),
        "answers": sum(len(found.seconds) for found in windows),
        "wrong": sum(found.wrong for found in windows),
        "lost": sum(found.lost for found in windows),
        "refused": sum(count for found in windows for status, count in found.statuses.items() if status != 200),
    }


def _spread(of: dict[str, float], digits: int) -> str:
    return f"{of['median']:.{digits}f} [{of['q1']:.{digits}f}, {of['q3']:.{digits}f}]"


def _line(name: str, count: int, found: Found) -> str:
    return (
        f"{count} clients, {name}: {found.rate:.0f} texts/s, p50 {found.at(0.5):.1f} ms, p99 {found.at(0.99):.1f} ms, "
        f"{found.wrong} wrong, {found.lost} lost, {dict(found.statuses)}"
    )


def main() -> None:
    """Measure, write the result and the page's table, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=list(CLIENTS))
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--seconds", type=float, default=8, help="of a window (default: 8)")
    parser.add_argument("--option", action="append", default=[], help="of a further `poolfold serve`, to try")
    parser.add_argument("--ours", action="store_true", help="ours alone; nothing is kept")
    parser.add_argument("--kept", action="store_true", help="take the artifact that was exported before")
    given = parser.parse_args()
    model, threads, busy = installed_minilm(), default_threads(), busy_share()
    _BUILD.mkdir(parents=True, exist_ok=True)
    if not given.kept:
        export_ours(model, _BUILD / "artifact", OURS, ("mean",))
    artifact = _BUILD / "artifact"
    systems: list[tuple[str, Callable[[], AbstractContextManager[Serving]]]] = [
        ("poolfold serve", lambda: ours(artifact)),
        *((option, lambda option=option: ours(artifact, *option.split(), name=option)) for option in given.option),
    ]
    if not given.ours:
        systems.append(("FastAPI over sentence-transformers", lambda: plain(model, threads)))
        python = str(environment_of(INFINITY, _INFINITY) / "python")
        systems.append(("infinity", lambda: infinity(model, python, threads)))
    found = measured(
        systems,
        texts(),
        artifact,
        clients=given.clients,
        rounds=given.rounds,
        seconds=given.seconds,
        threads=threads,
    )
    result = {
        "command": f"python -m bench.service {' '.join(sys.argv[1:])}".strip(),
        "rounds": given.rounds,
        "seconds": given.seconds,
        "threads": threads,
        "busy": busy,
        **found,
        "environment": environment(),
        "infinity_versions": {} if given.ours else versions(INFINITY, _INFINITY / "bin"),
    }
    if not given.ours and not given.option:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
        markdown.between(PAGE, BEGIN, END, page_table(result))
    print(page_table(result))


if __name__ == "__main__":
    main()
