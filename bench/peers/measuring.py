"""A model in, its results out: exports, then interleaved windows, then texts and memory."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np

from bench import batches, exports
from bench import systems as lists
from bench.load_product import write_graph
from bench.models import Model
from bench.results import EncodeResult, ModelResult
from bench.systems import OURS, STRATEGIES, Entry, name
from bench.turns import Say, begun, in_turns, memory_result
from bench.work import Size, size_of
from exporter.measure.interleave import measure
from exporter.measure.process import weigh
from exporter.measure.systems import System
from exporter.measure.workloads import Workload, ragged_lengths
from exporter.model.checkpoint.read import read_spec
from exporter.spec.model import ModelSpec, Source

_LIBRARY = "sentence-transformers"
_SPECIAL = 2
_ENCODING_SHARE = 0.2


def measure_model(model: Model, venv: Path | None, threads: int, say: Say) -> ModelResult:
    """Everything that is measured of one model.

    Args:
        model: its checkpoint.
        venv: optimum's environment; None leaves its exports out.
        threads: of every system.
        say: told what happens.

    Raises:
        RuntimeError: an export failed.
        CheckFailed: PyTorch's process, which everything is compared with, died or hung.
    """
    spec, size = read_spec(Source(model.name, model.checkpoint, None)), size_of(model.checkpoint)
    workloads = batches.timed(spec, batches.ON_PROCESSOR)
    command, entries = _entries(model, venv, threads, size, workloads, say)
    present = [entry for entry in entries if not entry.missing]
    missing = {entry.label: entry.missing for entry in entries if entry.missing}
    for label, reason in missing.items():
        say(f"without {label}: {reason}")

    say(f"loading {len(present)} processes; torch.compile compiles")
    result = begun(model.name, size, command, workloads, missing)
    result = in_turns(result, present, workloads, threads=threads, seconds=model.seconds, say=say)
    if model.texts:
        say("encoding texts")
        ours = [entry for entry in present if entry.side == "ours"]
        rows = next(w for w in workloads if w.name == batches.RAGGED)
        result = msgspec.structs.replace(result, encode=tuple(encoded(model, spec, ours, rows, threads)))
    weighed, largest = [entry for entry in present if entry.weighed], batches.largest(spec)
    say(f"memory of one large batch, {len(weighed)} processes one after another")
    memory = [memory_result(e, largest.name, weigh(e.systems()[0], [largest], threads)[0]) for e in weighed]
    return msgspec.structs.replace(result, memory=tuple(memory))


def encoded(
    model: Model, spec: ModelSpec, ours: Iterable[Entry], rows: Workload, threads: int
) -> Iterable[EncodeResult]:
    """Texts to vectors, tokenising included: our `encode` and sentence-transformers', in turns. No goal rests on it."""
    written = texts(spec)
    given = {"texts": written, "batch_size": len(written)}
    theirs = [
        ({"folder": str(model.checkpoint), "strategy": s}, _LIBRARY, s, "fp32", "pytorch", "load_sentence_transformers")
        for s in STRATEGIES
    ]
    mine = [(e.arguments, e.label, s, e.dtype, e.runtime, "load_ours") for e in ours for s in e.strategies]
    systems = {
        System(
            *(name(label, strategy), strategy, dtype, runtime, f"bench.load_texts:{load}", {**arguments, **given}),
            baseline=name(_LIBRARY, strategy),
        ): label
        for arguments, label, strategy, dtype, runtime, load in (*theirs, *mine)
    }
    seconds = model.seconds * _ENCODING_SHARE
    quiet = lambda done, total, what: None  # noqa: E731
    report = measure(list(systems), [rows], threads=threads, budget_s=seconds, progress=quiet, leave_out=False)
    for (system, label), timing in zip(systems.items(), report.timings, strict=True):
        yield EncodeResult(
            label=label,
            strategy=system.strategy,
            windows_ms=tuple(round(ms, 4) for ms in timing.windows_ms),
            latency_ms=timing.latency_ms,
            speedup=timing.speedup,
        )


def texts(spec: ModelSpec) -> list[str]:
    """As many and about as long as the ragged batch's rows, special tokens included, of the model's own whole words."""
    vocabulary = json.loads(spec.tokenizer_json)["model"]["vocab"]
    words = sorted(token for token in vocabulary if token.isascii() and token.isalpha() and len(token) > 1)
    rng = batches.seeded()
    lengths = np.maximum(1, ragged_lengths(rng, batches.ROWS, batches.USUAL) - _SPECIAL)
    return [" ".join(rng.choice(words, size=length)) for length in lengths]


def _entries(
    model: Model, venv: Path | None, threads: int, size: Size, workloads: tuple[Workload, ...], say: Say
) -> tuple[str, list[Entry]]:
    """Make what is to be measured: our export's command, and all of it."""
    artifact, product = model.build / "artifact", model.build / "product.onnx"
    say("poolfold export; optimum's exports, unless they are kept from before")
    command = exports.export_ours(model.checkpoint, artifact, OURS, STRATEGIES).command
    graphs = exports.export_optimum(model.checkpoint, model.build, venv) if venv else {}
    write_graph(product, size.hidden, size.intermediate)
    return command, [
        *lists.peers_on_processor(model.checkpoint, graphs, batches.shapes(workloads), left_out="left out by --quick"),
        *lists.ours_on_processor(artifact, threads),
        *lists.products(product, size),
    ]
