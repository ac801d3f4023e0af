"""`python -m bench.session_options DIR`: what poolfold's settings of ONNX Runtime bring, beside its defaults.

The plain fp32 graphs of an artifact; ours and the defaults take turns on every shape, the order changing each round;
peak memory of one large batch in a process of its own for each. Threads rest after every run on both sides, since both
live in one process. Writes bench/results/session_options.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from exporter.host.environment import cores, environment, load_average
from exporter.measure.memory import peak_bytes, reset_peak, resident_bytes
from poolfold.sessions.ort import OnnxRuntimeSession
from poolfold.verify import verify

_SHAPES = ((1, 16), (1, 128), (32, 128), (32, 256))
_LARGEST = (32, 256)
_SECONDS = 12.0
_SIDES = ("ours", "defaults")
_RESULTS = Path("bench/results/session_options.json")


class _Defaults:
    """ONNX Runtime as it comes, but for threads that rest after a run."""

    def __init__(self, path: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(self, input_ids: Any, attention_mask: Any) -> Any:
        return self._session.run(None, {"input_ids": input_ids, "attention_mask": attention_mask})[0]


def _open(side: str, path: Path, threads: int) -> Any:
    return OnnxRuntimeSession(path, threads=threads) if side == "ours" else _Defaults(path, threads)


def _batch(shape: tuple[int, int], vocab_size: int) -> tuple[Any, Any]:
    ids = np.random.default_rng(0).integers(0, vocab_size, shape)
    return ids, np.ones_like(ids)


def _times(path: Path, vocab_size: int, threads: int) -> dict[str, Any]:
    """Milliseconds of each side on each shape, interleaved; the ratio is defaults over ours, round by round."""
    sessions = {side: _open(side, path, threads) for side in _SIDES}
    found = {}
    for shape in _SHAPES:
        batch = _batch(shape, vocab_size)
        taken: dict[str, list[float]] = {side: [] for side in _SIDES}
        started = time.perf_counter()
        number = 0
        while number < 4 or time.perf_counter() - started < _SECONDS:
            for side in _SIDES if number % 2 else reversed(_SIDES):
                before = time.perf_counter()
                sessions[side].run(*batch)
                if number:  # the first warms up
                    taken[side].append(1e3 * (time.perf_counter() - before))
            number += 1
        ratios = [theirs / ours for ours, theirs in zip(taken["ours"], taken["defaults"], strict=True)]
        found[f"{shape[0]}x{shape[1]}"] = {
            **{f"{side}_ms": _quartiles(values) for side, values in taken.items()},
            "ratio": _quartiles(ratios),
            "rounds": number - 1,
        }
    return found


def _quartiles(values: list[float]) -> list[float]:
    q1, median, q3 = statistics.quantiles(values, n=4)
    return [round(value, 3) for value in (q1, median, q3)]


def _weigh(side: str, path: Path, vocab_size: int, threads: int) -> float:
    """MiB that the graph and five large batches add to a fresh process."""
    command = [sys.executable, "-m", "bench.session_options", "--weigh", side, str(path), str(vocab_size), str(threads)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _weigh_here(side: str, path: Path, vocab_size: int, threads: int) -> float:
    reset_peak()
    before = resident_bytes()
    session = _open(side, path, threads)
    for _ in range(5):
        session.run(*_batch(_LARGEST, vocab_size))
    after = peak_bytes()
    if before is None or after is None:
        raise SystemExit("this system does not tell a process's memory; run it on Linux")
    return round((after - before) / 2**20, 1)


def main() -> int:
    """Measure, write, print."""
    if sys.argv[1:2] == ["--weigh"]:
        side, path, *numbers = sys.argv[2:]
        print(_weigh_here(side, Path(path), *map(int, numbers)))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, metavar="DIR")
    directory = parser.parse_args().directory
    manifest, threads, load = verify(directory), cores(), load_average()
    graphs = {}
    for graph in manifest.graphs:
        if graph.dtype == "fp32":
            path, vocab_size = directory / graph.path, manifest.model.vocab_size
            graphs[graph.strategy] = {
                "times": _times(path, vocab_size, threads),
                "mib_32x256": {side: _weigh(side, path, vocab_size, threads) for side in _SIDES},
            }
    found = {
        "model": f"{manifest.model.model_type}, {manifest.model.num_layers} layers",
        "threads": threads,
        "load_average": [load, load_average()],
        "environment": environment(),
        "graphs": graphs,
    }
    _RESULTS.write_text(json.dumps(found, indent=2) + "\n")
    for strategy, of in graphs.items():
        for shape, times in of["times"].items():
            q1, median, q3 = times["ratio"]
            print(f"{strategy} {shape}: {times['ours_ms'][1]} ms, defaults / ours {median} [{q1}, {q3}]")
        print(f"{strategy}: MiB for 32x256, {of['mib_32x256']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
