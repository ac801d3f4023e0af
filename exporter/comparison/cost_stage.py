"""The stage that measures cost: kept between runs, beside the model without poolfold, and missing where it fails."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import msgspec

from exporter.comparison.cost import Cost, measure_cost, token_embeddings_system
from exporter.comparison.entries import CompareOptions, Entry
from exporter.comparison.token_embeddings import FILE
from exporter.host.child_process import OwnProcess
from exporter.host.console import Console, Stage, count
from exporter.measure.process import in_words
from exporter.measure.systems import System, baseline_system
from exporter.model.of_artifact import find_baseline
from exporter.spec.origin import ONNX_FILE
from graphs.pooling.head import Cut
from graphs.pooling.strategy import parse_strategy
from poolfold.sessions.user_cache import write_whole

_SCRATCH = ".token_embeddings_"


def cost_or_reason(
    options: CompareOptions, entries: Sequence[Entry], dtypes: Sequence[str], console: Console
) -> tuple[Cost | None, str]:
    """Measure, or take what an earlier run measured of the very same files on as many threads; or why there is none."""
    sums = [(e.name, file.path, file.sha256) for e in entries for file in e.manifest.files]
    key = hashlib.sha256(json.dumps([sums, dtypes, options.threads, options.seconds]).encode()).hexdigest()
    kept = options.folder / f"cost_{key[:24]}.json"
    with console.stage("cost") as stage:
        if kept.is_file():
            try:
                cost = msgspec.json.decode(kept.read_bytes(), type=Cost)
            except msgspec.DecodeError:
                pass  # cut off: measured anew
            else:
                stage.outcome = "kept from before: the same graphs, threads and time"
                return cost, ""
        try:
            cost = _measured_cost(options, entries, dtypes, stage)
        except Exception as error:  # whatever a library raises: it must not take the quality with it
            why = f"not measured: {in_words(error)}"
            stage.warn(f"speed and memory were {why}")
            stage.outcome = "not measured"
            return None, why
        # What is missing or disturbed may be had another time.
        if not cost.missing and not any(timing.disturbed for timing in cost.latency.timings):
            write_whole(kept, lambda file: file.write(msgspec.json.encode(asdict(cost))))
        systems, shapes = len(cost.latency.systems), len(cost.latency.workloads)
        stage.outcome = (
            f"{count(systems, 'system')} on {count(shapes, 'workload')}, interleaved, "
            f"{count(cost.latency.threads, 'thread')}"
        )
    return cost, ""


def _measured_cost(options: CompareOptions, entries: Sequence[Entry], dtypes: Sequence[str], stage: Stage) -> Cost:
    stage.progress(0, 1, "the model without poolfold")
    for left in options.folder.glob(f"{_SCRATCH}*"):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix=_SCRATCH) as scratch:
        beside: list[System] = []
        missing = ""
        try:
            beside = _beside(options, entries[0], Path(scratch))
        except Exception as error:  # as above
            # `validate` and `bench` have a --model; here the model itself is compared instead.
            why = in_words(error).replace("Say where it is now with --model.", "Compare the model itself to have that.")
            missing = f"What the model costs without poolfold is not measured: {why}"
            stage.warn(missing)
        cost = measure_cost(
            entries, dtypes, beside, threads=options.threads, budget_s=options.seconds, progress=stage.progress
        )
    return replace(cost, missing=(missing,)) if missing else cost


def _beside(options: CompareOptions, first: Entry, scratch: Path) -> list[System]:
    """The first model without poolfold: as it is, and as a graph that ends in token embeddings."""
    there = first.model if Path(first.model).exists() else None
    spec = find_baseline(first.manifest, there, options.trust).spec
    model = first.manifest.model
    cut = Cut(model.dimensions, model.renormalized)
    baseline = baseline_system(spec, parse_strategy(first.strategy), cut)
    # One stands for all strategies: behind a transformer, which one is pooled by makes no difference to time.
    baseline = replace(baseline, name=f"{baseline.runtime} {baseline.dtype}")
    if spec.source.origin is ONNX_FILE:
        return [baseline]
    with OwnProcess(
        "exporter.comparison.token_embeddings:write",
        *(spec.source.name, spec.source.revision, options.trust, scratch),
    ) as writing:
        writing.result()
    return [baseline, token_embeddings_system(scratch / FILE, spec.source.folder, first.strategy, spec.hidden_size)]
