"""How much padding a batch needs for the padding-free form of a graph to be the faster one, measured on this machine.

The plain form takes the same time for every mask. The padding-free form takes a fixed time and a time for each real
token, so two measurements of it show at which share of real tokens the two forms are equally fast. Without them the
loader's own share stands, `by_padding.FASTER_BELOW`.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from exporter.measure import disturbance, schedule, worker
from exporter.measure.protocol import Pooled, Ran, Run
from exporter.measure.warm_up import refused
from exporter.measure.workloads import Batch
from poolfold.choice import Runnable, runnables
from poolfold.encoder import Encoder
from poolfold.load import open_encoder
from poolfold.manifest import Graph, Manifest
from poolfold.sessions.threads import allowed_cores, default_threads

_TEXTS = 16
_LENGTH = 128
_ROUNDS = 7
_MOST_SECONDS = 3.0
_MARGIN = 0.03
"""So much more padding is left to the plain form: what the measurement may be off by."""

_USUAL_ROWS, _ENOUGH_TEXTS = 32, 64
"""Texts in a batch of `encode`, and how many tell what a user's batches look like."""
_FEW_TOKENS = (16, 64)
"""In one text: two sizes of call that show how long a whole batch will take."""


@dataclass(frozen=True)
class Benefit:
    """What was found.

    graphs: the manifest's, with `padding_free.faster_below`.
    left_out: a graph and its target, as `mean fp32 on onnxruntime` -> why it was not measured.
    """

    graphs: tuple[Graph, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


def no_profit(lengths: Sequence[int]) -> str | None:
    """Why none of these texts can profit from the padding-free form; None where they may, or are too few to tell.

    lengths: tokens of each text. `encode` sorts by length, so texts of like lengths leave no padding.
    """
    if len(lengths) < _ENOUGH_TEXTS:
        return None
    longest = sorted(lengths, reverse=True)
    batches = [longest[start : start + _USUAL_ROWS] for start in range(0, len(longest), _USUAL_ROWS)]
    share = min(sum(batch) / (len(batch) * batch[0]) for batch in batches)
    if share < 1 - _MARGIN:
        return None
    return f"your texts leave no padding to save: tokens fill at least {share:.0%} of each batch of {_USUAL_ROWS}"


def measure_benefit(
    directory: Path,
    manifest: Manifest,
    *,
    targets: Sequence[str] | None = None,
    threads: int | None,
    until: float = math.inf,
    progress: Callable[[int, int, str], None],
) -> Benefit:
    """Measure the two forms of every graph that has both, on each target that runs it.

    Args:
        directory: the artifact, sealed.
        manifest: what it holds.
        targets: only on these; None for all.
        threads: of a session; None for `default_threads`.
        until: the `time.monotonic` at which all is over, loading included; only a call that has begun is finished.
        progress: called with (done, in all, what is measured).
    """
    shares: dict[str, dict[str, float]] = {}
    left_out: dict[str, str] = {}
    needed_s: dict[str, float] = {}
    two_forms = _two_forms(manifest, targets)
    for done, (graph, runs) in enumerate(two_forms):
        name = f"{runs.strategy} {runs.dtype} on {runs.target}"
        progress(done, len(two_forms), name)
        start = time.monotonic()
        late = _too_long(needed_s.get(runs.target, 0.0), until)
        if late is not None:
            left_out[name] = late
            continue
        share, needed_s[runs.target] = _faster_below(directory, manifest, runs, threads or default_threads(), until)
        if isinstance(share, str):
            left_out[name] = share
        else:
            needed_s[runs.target] = time.monotonic() - start
            shares.setdefault(graph.path, {})[runs.target] = share
    graphs = tuple(_with_shares(graph, shares.get(graph.path, {})) for graph in manifest.graphs)
    return Benefit(graphs, left_out)


def _two_forms(manifest: Manifest, targets: Sequence[str] | None) -> list[tuple[Graph, Runnable]]:
    """Every graph that has a padding-free form, once with what runs that form on each target."""
    found: dict[tuple[str, str], tuple[Graph, Runnable]] = {}
    for graph in manifest.graphs:
        free = graph.padding_free
        packed = {engine.path for engine in manifest.engines if engine.graph == graph.packed}
        for runs in runnables(manifest) if free is not None else ():
            # OpenVINO may run one graph in two precisions; what padding costs is alike.
            is_engine = runs.form == "packed" and runs.path in packed
            wanted = targets is None or runs.target in targets
            is_free = free is not None and runs.path == free.path and graph.prompted is None
            if wanted and (is_free or is_engine):
                found.setdefault((graph.path, runs.target), (graph, runs))
    return [(g, runs) for g, runs in found.values() if g.padding_free and runs.target not in g.padding_free.serves_all]


def _with_shares(graph: Graph, shares: dict[str, float]) -> Graph:
    if graph.padding_free is None:
        return graph
    free = msgspec.structs.replace(graph.padding_free, faster_below=shares)
    return msgspec.structs.replace(graph, padding_free=free)


def _faster_below(
    directory: Path, manifest: Manifest, runs: Runnable, threads: int, until: float
) -> tuple[float | str, float]:
    """The share, or why it was not measured; and about how many seconds that takes."""

    def opened(form: str) -> Encoder:
        return open_encoder(directory, manifest, runs.strategy, runs.target, runs.dtype, threads=threads, form=form)

    start = time.monotonic()
    with opened("plain") as plain:
        loading_s = time.monotonic() - start
        # A round to warm up, one that counts, and the other form's load.
        needed_s = loading_s + 2 * 3 * _call_seconds(plain, manifest)
        if (late := _too_long(needed_s, until)) is not None:
            return late, needed_s
        with opened(runs.form) as free:
            half, full = _batch(manifest, 0.5), _batch(manifest, 1.0)
            medians = _medians([(plain, half), (free, half), (free, full)], threads, until)
    if medians is None:
        return "other programs disturbed it", needed_s
    return crossing(*medians), needed_s


def _too_long(needed_s: float, until: float) -> str | None:
    left_s = max(0.0, until - time.monotonic())
    return None if needed_s < left_s else refused(needed_s, left_s)


def _call_seconds(plain: Encoder, manifest: Manifest) -> float:
    """About how long a call on the whole batch takes, from two small ones."""
    length = min(_LENGTH, manifest.model.text.max_seq_length)
    sizes = sorted({min(tokens, length) for tokens in _FEW_TOKENS})
    system = Pooled(plain.embed, {})
    # The first call, untimed, pages the weights in.
    ones = [Batch(np.ones((1, n), np.int64), np.ones((1, n), np.int64)) for n in sizes]
    seconds = [worker.run(system, Run([one], untimed=1, timed=1)).seconds[0] for one in ones]
    return schedule.estimate(sizes, seconds, _TEXTS * length)


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


def _medians(runs: Sequence[tuple[Encoder, Batch]], threads: int, until: float) -> list[float] | None:
    """Median seconds of each run, of the rounds that nobody disturbed; None where these are too few.

    The runs take turns. A disturbed round is repeated while there is time, up to two times as many.
    """
    systems = [Pooled(encoder.embed, {}) for encoder, _ in runs]
    spare = max(0, allowed_cores() - threads)

    def timed(system: int) -> Ran:
        return worker.run(systems[system], Run([runs[system][1]], untimed=0, timed=1))

    def calm() -> list[int]:
        shares = [disturbance.shares([ran.watched for ran in rans], threads, spare) for rans in found]
        return disturbance.calm([max(of_round) for of_round in zip(*shares, strict=True)])

    def wanted(number: int, _: int) -> bool:
        if number and time.monotonic() + round_s > until:
            return False
        return number < rounds or (number < 3 * rounds and len(calm()) < least)

    round_s = sum(timed(system).watched.wall_s for system in range(len(runs)))
    rounds = max(1, min(_ROUNDS, int(_MOST_SECONDS / round_s)))
    least = min(rounds, schedule.MIN_ROUNDS)
    found: list[list[Ran]] = [[] for _ in runs]
    for _, _, system in schedule.turns_while(wanted, 1, len(runs), seed=0):
        found[system].append(timed(system))
    kept = calm()
    return [statistics.median(rans[number].seconds[0] for number in kept) for rans in found] if kept else None
