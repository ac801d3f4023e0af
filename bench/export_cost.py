"""What a cold `poolfold export` costs, against a peer's plain export of the same model: wall time and peak memory.

poolfold makes far more of it: two strategies, fp32 and fp16 graphs, a TensorRT-RTX engine for each strategy, and the
validation of all; the peer one fp32 graph without pooling. Method and reading: bench/README.md.

A new process counts the memory of the one that started it until it becomes its own program: a peak is never below that
of this one.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from operator import le, lt, truediv
from pathlib import Path
from typing import Any

import psutil

from bench import markdown
from bench.exports import OPTIMUM, environment_of, versions
from bench.models import installed_minilm
from exporter.host.environment import environment, load_average
from exporter.measure.interleave import take_turns
from exporter.measure.quartiles import quartiles

OURS, OURS_ONE, PEER = "poolfold export", "poolfold export, one strategy", "optimum-cli export onnx"
OUR_IMPORTS, PEER_IMPORTS = "import torch, transformers (poolfold)", "import torch, transformers (peer)"
_PEAKS = ("process", "tree", "above_imports")
_FIGURES = {
    "wall_ratio": "wall time over the peer's",
    "memory_over_weights": "memory over fp32 weights",
    "second_strategy": "what a second strategy adds, over the first",
}
_WALL_LIMIT, _MEMORY_LIMIT, _SECOND_LIMIT = 2.0, 8.0, 0.2

_RESULTS = Path("bench/results/export_cost.json")
_SAMPLE_S = 0.1
_KIB = 1024


@dataclass(frozen=True)
class Cost:
    """A process that ran.

    wall_s: from its start to its end, seconds.
    peak_process_bytes: peak resident memory of the largest single process among it and the children it waited for;
        exact, since the kernel keeps it.
    peak_tree_bytes: peak of the sum over it and its descendants, from samples every 0.1 s, so a short peak of several
        together may be missed; pages that two of them share count twice. Never below `peak_process_bytes`.
    """

    wall_s: float
    peak_process_bytes: int
    peak_tree_bytes: int


def run(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Cost:
    """Run a command to its end, on Linux, in this whole environment; what it writes goes to the log.

    Raises:
        RuntimeError: it did not end with code 0; the message has the end of the log.
    """
    ended: list[tuple[float, int, int]] = []

    def wait() -> None:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)  # else Popen would look for a process that is gone
        ended.append((time.perf_counter(), process.returncode, usage.ru_maxrss * _KIB))

    with log.open("wb") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
        waiter = threading.Thread(target=wait)
        waiter.start()
        sampled = 0
        try:
            while waiter.is_alive():
                sampled = max(sampled, _tree_bytes(process.pid))
                waiter.join(_SAMPLE_S)
        except BaseException:
            os.kill(process.pid, 9)
            waiter.join()
            raise
    ((end, code, peak),) = ended
    if code != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise RuntimeError(f"`{' '.join(command)}` ended with code {code}, expected 0. The end of its output:\n{tail}")
    return Cost(end - start, peak, max(peak, sampled))


def _tree_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants now, in bytes; those that just ended count nothing."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for member in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                total += member.memory_info().rss
    return total


def commands(model: Path, out: Path, ours: Path, peer: Path) -> dict[str, list[str]]:
    """What is run, by name. `ours` and `peer` are the bin folders of the two environments."""
    export = [str(ours / "poolfold"), "export", str(model), "-o", str(out), "--skip-latency"]
    export += ["--dtype", "fp32", "--dtype", "fp16", "--target", "onnxruntime", "--target", "tensorrt-rtx"]
    task = ("--library", "transformers", "--task", "feature-extraction")
    imports = ["-c", "import torch, transformers"]
    return {
        OURS: [*export, "--pooling", "cls", "--pooling", "mean"],
        OURS_ONE: [*export, "--pooling", "cls"],
        PEER: [str(peer / "optimum-cli"), "export", "onnx", "--model", str(model), *task, str(out)],
        OUR_IMPORTS: [str(ours / "python"), *imports],
        PEER_IMPORTS: [str(peer / "python"), *imports],
    }


def measure(model: Path, ours: Path, peer: Path, rounds: int) -> dict[str, list[Cost]]:
    """Run each command once for nothing, then `rounds` times for its cost, in turns."""
    with tempfile.TemporaryDirectory() as scratch:
        out, log = Path(scratch) / "out", Path(scratch) / "log"
        plan = commands(model, out, ours, peer)
        names = list(plan)
        # Two exports side by side, and whatever else the user exported, must not tell the numbers.
        variables = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}

        def cost(number: int, _: int, command: int) -> Cost:
            print(f"round {number} of {rounds} (round 0 does not count): {names[command]}", file=sys.stderr)
            spent = run(plan[names[command]], variables, log)
            shutil.rmtree(out, ignore_errors=True)
            return spent

        (costs,) = take_turns([rounds + 1], len(names), cost)
    return {name: spent[1:] for name, spent in zip(names, costs, strict=True)}


def summary(costs: Mapping[str, Sequence[Cost]], weights_bytes: int) -> dict[str, Any]:
    """Medians and quartiles of each command, and the three figures that poolfold is held to.

    `costs` has a cost a round for each command; `weights_bytes` is what the model's weights take in fp32.
    """

    def spread(values: Iterable[float]) -> dict[str, float]:
        return asdict(quartiles(list(values)))

    def judged(values: Iterable[float], limit: float, within: Callable[[float, float], bool]) -> dict[str, Any]:
        told = spread(values)
        return {**told, "limit": limit, "within": within(told["median"], limit)}

    above = {
        name: [cost.peak_tree_bytes - base.peak_tree_bytes for cost, base in zip(costs[name], costs[base], strict=True)]
        for name, base in ((OURS, OUR_IMPORTS), (PEER, PEER_IMPORTS))
    }
    walls = {name: [cost.wall_s for cost in runs] for name, runs in costs.items()}
    return {
        "commands": {
            name: {
                "wall_s": spread(walls[name]),
                "peak_process_bytes": spread(cost.peak_process_bytes for cost in runs),
                "peak_tree_bytes": spread(cost.peak_tree_bytes for cost in runs),
                "peak_above_imports_bytes": spread(above[name]) if name in above else None,
            }
            for name, runs in costs.items()
        },
        "wall_ratio": judged(map(truediv, walls[OURS], walls[PEER]), _WALL_LIMIT, le),
        "memory_over_weights": judged((value / weights_bytes for value in above[OURS]), _MEMORY_LIMIT, lt),
        "second_strategy": judged(
            (two / one - 1 for two, one in zip(walls[OURS], walls[OURS_ONE], strict=True)), _SECOND_LIMIT, lt
        ),
    }


def table(found: Mapping[str, Any]) -> str:
    """The summary for people."""

    def told(value: Mapping[str, float]) -> str:
        return f"{value['median']:.2f} [{value['q1']:.2f}, {value['q3']:.2f}]"

    def cells(costs: Mapping[str, Mapping[str, float] | None]) -> list[str]:
        peaks = [costs[f"peak_{part}_bytes"] for part in _PEAKS]
        return ["" if peak is None else markdown.mib(int(peak["median"])) for peak in peaks]

    rows = [[name, told(costs["wall_s"]), *cells(costs)] for name, costs in found["commands"].items()]
    figures = [
        f"{text}: {told(found[key])}, {'within' if found[key]['within'] else 'OUTSIDE'} the limit {found[key]['limit']}"
        for key, text in _FIGURES.items()
    ]
    return "\n".join([markdown.table(["command", "wall s", *(f"{part} MiB" for part in _PEAKS)], rows), *figures])


def main() -> int:
    """Measure, write the result, print the table; 1 where a figure is outside its limit."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--model", type=Path, help="a checkpoint in safetensors, fp32 (default: all-MiniLM-L6-v2)")
    arguments.add_argument("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    arguments.add_argument("--peer-venv", type=Path, default=Path("build/peer-venv"), help="default: build/peer-venv")
    given = arguments.parse_args()
    model = given.model or installed_minilm()
    peer = environment_of(OPTIMUM, given.peer_venv)

    load_before = load_average()
    costs = measure(model, Path(sys.executable).parent, peer, given.rounds)
    weights_bytes = sum(file.stat().st_size for file in model.glob("*.safetensors"))
    found = summary(costs, weights_bytes)
    result = {
        **found,
        "model": model.name if given.model else "all-MiniLM-L6-v2",
        "weights_bytes": weights_bytes,
        "rounds": {name: [asdict(cost) for cost in runs] for name, runs in costs.items()},
        "command_lines": {
            name: [Path(line[0]).name, *line[1:]]
            for name, line in commands(Path("MODEL"), Path("OUT"), Path(), Path()).items()
        },
        "environment": {**environment(), "load_average_before": load_before, "load_average_after": load_average()},
        "peer_versions": versions(OPTIMUM, peer),
    }
    _RESULTS.write_text(json.dumps(result, indent=2) + "\n")
    print(table(found))
    return 0 if all(found[key]["within"] for key in _FIGURES) else 1


if __name__ == "__main__":
    sys.exit(main())
