"""The parts of a run. Each is a value of plain numbers, ready for JSON."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.embedders.checkpoints import Embedder
from bench.embedders.systems import ours, pytorch, targets_here, times_of
from bench.goals import smallest_cosine
from bench.long.once import FAILURES, Once, once
from bench.turns import to_stderr
from exporter.measure.interleave import measure
from exporter.measure.systems import System
from exporter.measure.workloads import Batch, Workload, filled
from poolfold.errors import first_line
from poolfold.manifest import Text, read_manifest

LIMIT_BYTES, MOST_BYTES = 4 << 30, 20 << 30
"""Of private memory: in the part `limit`, and of calls of minutes."""
BATCH = 32
"""poolfold's and sentence-transformers' default."""
OURS_OF_TEXTS, PEER = "poolfold onnxruntime fp32", "sentence-transformers"
WHOLE = "without slices"
_SEED = 0


@dataclass(frozen=True)
class Model:
    """What is measured, and the folder that has its checkpoint and its artifact."""

    name: str
    embedder: Embedder
    folder: Path

    @property
    def checkpoint(self) -> Path:
        """As the hub has it, with random weights."""
        return self.folder / "checkpoint"

    @property
    def artifact(self) -> Path:
        """Its export."""
        return self.folder / "artifact"

    @property
    def text(self) -> Text:
        """What the artifact says of texts."""
        return read_manifest(self.artifact).model.text


def rows(model: Model, lengths: Sequence[int], threads: int, seconds: float) -> Iterator[dict[str, Any]]:
    """One row of each length, in turns; then each system with each length in a fresh process.

    Yields:
        After each precision all that was found so far: by system, its baseline and of each length the times and
        what `_beside` gives.
    """
    loads = [Workload(f"1x{n}", (_row(model, n),)) for n in lengths]
    found: dict[str, Any] = {}
    wanted: dict[str, Once] = {}
    for dtype in dict.fromkeys(dtype for _, dtype in targets_here()):
        systems = [pytorch(model.embedder, model.checkpoint, dtype)]
        systems += [ours(model.embedder, model.artifact, target, of) for target, of in targets_here() if of == dtype]
        report = measure(systems, loads, threads=threads, budget_s=seconds, progress=to_stderr, leave_out=False)
        times = times_of(report)
        base: dict[str, Once] = {}
        for system in systems:
            of_length = {}
            for load in loads:
                _say(f"{system.name}, {load.name}, in a fresh process")
                alone = once(system, load.batches[0], threads)
                wanted.setdefault(load.name, alone)
                base.setdefault(load.name, alone)
                of_length[load.name] = {
                    **times[system.name][load.name],
                    **_beside(alone, base[load.name], wanted[load.name]),
                }
            found[system.name] = {"dtype": dtype, "baseline": systems[0].name, "lengths": of_length}
        yield dict(found)


def further(model: Model, tokens: int, threads: int) -> dict[str, Any]:
    """A row that takes minutes, in fp32: each system called once, in a fresh process; or why not."""
    systems = [pytorch(model.embedder, model.checkpoint, "fp32")]
    systems += [ours(model.embedder, model.artifact, target, of) for target, of in targets_here() if of == "fp32"]
    found: dict[str, Any] = {}
    base = None
    for system in systems:
        alone, told = _tried(system, _row(model, tokens), threads, limit_bytes=MOST_BYTES)
        base = base or alone
        of_length = {"told": told, **(_beside(alone, base, base) if alone and base else {})}
        found[system.name] = {
            "dtype": system.dtype,
            "baseline": systems[0].name,
            "lengths": {f"1x{tokens}": of_length},
        }
    return {"limit_bytes": MOST_BYTES, "systems": found}


def short(model: Model, lengths: Sequence[int], threads: int, seconds: float) -> dict[str, Any]:
    """One short row in ONNX Runtime, the graph with attention in slices against that without: what slices cost."""
    (graph,) = read_manifest(model.artifact).graphs
    loads = [Workload(f"1x{n}", (_row(model, n),)) for n in lengths]
    systems = [
        System(
            name, graph.strategy, "fp32", "onnxruntime", "bench.load_onnxruntime:load_ours", {"path": str(path)}, WHOLE
        )
        for name, path in (
            (WHOLE, model.artifact / graph.path),
            ("in slices", model.artifact / graph.sliced[graph.path]),
        )
    ]
    report = measure(systems, loads, threads=threads, budget_s=seconds, progress=to_stderr, leave_out=False)
    return {"systems": times_of(report)}


def limit(model: Model, tokens: int, threads: int) -> dict[str, Any]:
    """Whether a process that may have `LIMIT_BYTES` of private memory embeds one row, or why not."""
    system = ours(model.embedder, model.artifact, "onnxruntime", "fp32")
    found, told = _tried(system, _row(model, tokens), threads, limit_bytes=LIMIT_BYTES)
    return {"tokens": tokens, "limit_bytes": LIMIT_BYTES, "told": told} | (found.numbers() if found else {})


def corpus(model: Model, texts: Sequence[str], threads: int, peer_s: float, alone: int | None = None) -> dict[str, Any]:
    """`encode` with default arguments, ours and sentence-transformers'; and texts alone.

    sentence-transformers gets `peer_s` seconds; where they or the memory do not suffice, it takes a text at a time.
    Of texts one at a time, ours or theirs, the first `alone` suffice where all have the same length; default: all.
    """
    few = texts[:alone]
    mine, apart = _our_texts(model, texts), _by(_our_texts(model, few), 1)
    peer, peer_apart = _their_texts(model, texts), _by(_their_texts(model, few), 1)
    wanted = once(apart, _ones(len(few)), threads)
    kept = [_embedded(apart, wanted, "", wanted)]
    for system, limit_s in ((mine, None), (peer, peer_s)):
        found, told = _tried(system, _ones(len(texts)), threads, limit_bytes=MOST_BYTES, limit_s=limit_s)
        kept.append(_embedded(system, found, told, wanted))
        if found is None and system is peer:
            found, told = _tried(peer_apart, _ones(len(few)), threads, limit_bytes=MOST_BYTES)
            kept.append(_embedded(peer_apart, found, told, wanted))
    return {"texts": len(texts), "limit_bytes": MOST_BYTES, "peer_s": peer_s, "systems": kept}


def many(model: Model, groups: Sequence[Sequence[str]], threads: int) -> list[dict[str, Any]]:
    """`encode` of very many short texts with default arguments: what the call takes besides its vectors."""
    kept = []
    for texts in groups:
        systems = _their_texts(model, texts), _our_texts(model, texts)
        peer, mine = (once(system, _ones(len(texts)), threads) for system in systems)
        kept += [_embedded(system, found, "", peer) for system, found in zip(systems, (peer, mine), strict=True)]
    return kept


def _our_texts(model: Model, texts: Sequence[str]) -> System:
    """Our `encode` with its default arguments."""
    own = _texts_of(model, texts) | {"directory": str(model.artifact), "target": "onnxruntime", "dtype": "fp32"}
    return System(OURS_OF_TEXTS, model.embedder.pooling, "fp32", "onnxruntime", "bench.load_texts:load_ours", own, PEER)


def _their_texts(model: Model, texts: Sequence[str]) -> System:
    """sentence-transformers' `encode` with its default arguments."""
    own, load = _texts_of(model, texts) | {"folder": str(model.checkpoint)}, "load_sentence_transformers"
    return System(PEER, model.embedder.pooling, "fp32", "pytorch", f"bench.load_texts:{load}", own, PEER)


def _texts_of(model: Model, texts: Sequence[str]) -> dict[str, object]:
    return {"texts": list(texts), "batch_size": BATCH, "strategy": model.embedder.pooling}


def _by(system: System, batch_size: int) -> System:
    return replace(system, arguments={**system.arguments, "batch_size": batch_size})


def _tried(
    system: System, batch: Batch, threads: int, *, limit_bytes: int, limit_s: float | None = None
) -> tuple[Once | None, str]:
    """What the call gave, or the first line of the error."""
    _say(f"{system.name} with at most {limit_bytes / (1 << 30):.0f} GiB")
    try:
        return once(system, batch, threads, limit_bytes=limit_bytes, limit_s=limit_s), ""
    except FAILURES as error:
        return None, first_line(error)


def _embedded(system: System, found: Once | None, told: str, wanted: Once) -> dict[str, Any]:
    """A system with texts; `told` is why there are no vectors, whose first are held against the wanted ones."""
    texts, size = system.arguments["texts"], system.arguments["batch_size"]
    assert isinstance(texts, list)
    kept = {"system": system.name, "batch_size": size, "texts": len(texts), "told": told}
    if found is None:
        return kept
    return kept | {
        **found.numbers(),
        "peak_bytes": found.peak_bytes,
        "vectors_bytes": found.vectors.nbytes,
        "texts_per_s": len(texts) / found.seconds,
        "cosine": smallest_cosine([found.vectors[: len(wanted.vectors)]], [wanted.vectors]),
    }


def _row(model: Model, tokens: int) -> Batch:
    """One row of random letters, int64 [1, tokens] each."""
    letters = np.arange(2, 258, dtype=np.int64)
    return filled([tokens], letters, model.text, np.random.default_rng(_SEED))


def _beside(alone: Once, base: Once, wanted: Once) -> dict[str, Any]:
    """What a call gave, the ratio of its memory to the baseline's, and its cosine with PyTorch's fp32 vector."""
    return {
        **alone.numbers(),
        "memory_ratio": _ratio(alone, base),
        "cosine": smallest_cosine([alone.vectors], [wanted.vectors]),
    }


def _ones(rows: int) -> Batch:
    """What a system that brings its texts is called with."""
    ones = np.ones((rows, 1), np.int64)
    return Batch(ones, ones)


def _ratio(one: Once, other: Once) -> float | None:
    mine, theirs = (x.numbers()["increase_bytes"] for x in (one, other))
    return mine / theirs if mine is not None and theirs else None


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
