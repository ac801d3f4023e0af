"""`python -m bench.session_options DIR`: what poolfold's settings of ONNX Runtime bring, beside its defaults.

The plain fp32 graphs of an artifact; ours and the defaults take turns on every shape, each in a process of its own;
peak memory of one large batch in a fresh process for each. Threads rest after every run on both sides. Writes
bench/results/session_options.json.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from bench import batches
from bench.turns import to_stderr
from exporter.host.environment import environment, load_average
from exporter.measure.interleave import measure
from exporter.measure.process import weigh
from exporter.measure.quartiles import Quartiles
from exporter.measure.systems import System
from exporter.measure.workloads import Workload
from poolfold.sessions.threads import default_threads
from poolfold.verify import verify

_SHAPES = ("1x16", "1x128", "32x128", "32x256")
_SETTINGS = {"session.force_spinning_stop": "1"}
_RESULTS = Path("bench/results/session_options.json")


def measured(graph: Path, loads: list[Workload], threads: int, seconds: float) -> dict[str, Any]:
    """Milliseconds of each side on each shape, ratios of defaults over ours, and the MiB that each adds on the last."""

    def system(side: str, load: str, **arguments: object) -> System:
        load = f"bench.load_onnxruntime:{load}"
        return System(side, "", "fp32", "onnxruntime", load, {"path": str(graph), **arguments}, baseline="defaults")

    systems = [system("ours", "load_ours"), system("defaults", "load_folded", settings=_SETTINGS)]
    report = measure(systems, loads, threads=threads, budget_s=seconds, progress=to_stderr, leave_out=False)
    timings = {(t.system, t.workload): t for t in report.timings}
    largest = loads[-1:]
    return {
        "times": {
            shape.name: {
                **{f"{s.name}_ms": _rounded(timings[s.name, shape.name].latency_ms) for s in systems},
                "ratio": _rounded(timings["ours", shape.name].speedup),
                "rounds": shape.rounds,
            }
            for shape in report.workloads
        },
        f"mib_{largest[0].name}": {s.name: _mib(weigh(s, largest * 5, threads)) for s in systems},
    }


def _rounded(value: Quartiles) -> list[float]:
    return [round(number, 3) for number in (value.q1, value.median, value.q3)]


def _mib(sizes: list[int | None]) -> float | None:
    told = [size for size in sizes if size is not None]
    return round(max(told) / 2**20, 1) if told else None


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--seconds", type=float, default=45, help="for the windows of a graph (default: 45)")
    parser.add_argument("--output", type=Path, default=_RESULTS, help=f"default: {_RESULTS}")
    given = parser.parse_args()
    manifest, threads, load = verify(given.directory), default_threads(), load_average()
    tokenizer = (given.directory / "tokenizer.json").read_text(encoding="utf-8")
    loads = [batches.full(name, manifest.model.text, manifest.model.vocab_size, tokenizer) for name in _SHAPES]
    fp32 = [graph for graph in manifest.graphs if graph.dtype == "fp32"]
    graphs = {g.strategy: measured(given.directory / g.path, loads, threads, given.seconds) for g in fp32}
    result = {
        "model": f"{manifest.model.model_type}, {manifest.model.num_layers} layers",
        "threads": threads,
        "load_average": [load, load_average()],
        "environment": environment(),
        "graphs": graphs,
    }
    given.output.write_text(json.dumps(result, indent=2) + "\n")
    for strategy, sides in graphs.items():
        for shape, times in sides["times"].items():
            q1, median, q3 = times["ratio"]
            print(f"{strategy} {shape}: {times['ours_ms'][1]} ms, defaults / ours {median} [{q1}, {q3}]")
        print(f"{strategy}: MiB for {_SHAPES[-1]}, {sides[f'mib_{_SHAPES[-1]}']}")


if __name__ == "__main__":
    main()
