"""How much padding a batch needs for the padding-free form of a graph to be the faster one, measured on this machine.

The plain form takes the same time for every mask. The padding-free form takes a fixed time and a time for each real
token, so two measurements of it show at which share of real tokens the two forms are equally fast.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from exporter.measure import worker
from exporter.measure.interleave import take_turns
from exporter.measure.protocol import Pooled, Run
from exporter.measure.workloads import Batch
from poolfold.choice import Runnable, runnables
from poolfold.encoder import Encoder
from poolfold.load import open_encoder
from poolfold.manifest import Graph, Manifest

_TEXTS = 16
_LENGTH = 128
_ROUNDS = 7
_MOST_SECONDS = 3.0
_MARGIN = 0.03
"""So much more padding is left to the plain form: what the measurement may be off by."""


def measure_benefit(
    directory: Path,
    manifest: Manifest,
    *,
    threads: int | None,
    progress: Callable[[int, int, str], None],
) -> tuple[Graph, ...]:
    """Measure the two forms of every graph that has both, on each target that runs it.

    Args:
        directory: the artifact, sealed.
        manifest: what it holds.
        threads: of a session; None for `default_threads`.
        progress: called with (done, in all, what is measured).

    Returns:
        The manifest's graphs, with what was found in `padding_free.faster_below`.
    """
    graphs = []
    for done, graph in enumerate(manifest.graphs):
        free = graph.padding_free
        if free is not None:
            shares: dict[str, float] = {}
            packed = {engine.path for engine in manifest.engines if engine.graph == graph.packed}
            for runs in runnables(manifest):
                # OpenVINO may run one graph in two precisions; what padding costs is alike.
                is_engine = runs.form == "packed" and runs.path in packed
                if (runs.path == free.path or is_engine) and runs.target not in shares:
                    progress(done, len(manifest.graphs), f"{runs.strategy} {runs.dtype} on {runs.target}")
                    shares[runs.target] = _faster_below(directory, manifest, runs, threads)
            graph = msgspec.structs.replace(graph, padding_free=msgspec.structs.replace(free, faster_below=shares))
        graphs.append(graph)
    return tuple(graphs)


def _faster_below(directory: Path, manifest: Manifest, runs: Runnable, threads: int | None) -> float:
    def opened(form: str) -> Encoder:
        return open_encoder(directory, manifest, runs.strategy, runs.target, runs.dtype, threads=threads, form=form)

    with opened("plain") as plain, opened(runs.form) as free:
        half, full = _batch(manifest, 0.5), _batch(manifest, 1.0)
        return crossing(*_medians([(plain, half), (free, half), (free, full)]))


def crossing(plain: float, half: float, full: float) -> float:
    """The share of real tokens at which two forms take as long, from 0 to 1.

    Args:
        plain: seconds of the plain form, at any share.
        half: seconds of the padding-free form at a share of one half.
        full: the same without padding.
    """
    a_share = (full - half) / 0.5
    if a_share <= 0:
        # Too small a model, or too noisy a machine, to see the tokens.
        return 1.0 - _MARGIN if full < plain else 0.0
    share = 0.5 + (plain - half) / a_share - _MARGIN
    return round(min(max(share, 0.0), 1.0 - _MARGIN), 3)


def _batch(manifest: Manifest, share: float) -> Batch:
    """Texts of which `share` of the places are tokens, none longer than the first."""
    rng = np.random.default_rng(0)
    length = min(_LENGTH, manifest.model.text.max_seq_length)
    ids = rng.integers(0, manifest.model.vocab_size, (_TEXTS, length))
    # Evenly spread around the share: from a text of the full length down to one of nearly none.
    lengths = np.linspace(length, max(2 * share - 1.0, 1 / length) * length, _TEXTS).round().astype(np.int64)
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    if manifest.model.text.padding_side == "left":
        mask = np.ascontiguousarray(mask[:, ::-1])
    return Batch(ids, mask)


def _medians(runs: Sequence[tuple[Encoder, Batch]]) -> list[float]:
    """Median seconds of each run; the runs take turns."""
    systems = [Pooled(encoder.embed, {}) for encoder, _ in runs]

    def run(number: int, workload: int, system: int) -> float:
        return worker.run(systems[system], Run([runs[system][1]], untimed=0, timed=1)).seconds[0]

    warm_up = sum(run(0, 0, system) for system in range(len(runs)))
    rounds = max(1, min(_ROUNDS, int(_MOST_SECONDS / warm_up)))
    (seconds,) = take_turns([rounds], len(runs), run)
    return [statistics.median(taken) for taken in seconds]
