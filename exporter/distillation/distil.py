"""Texts in, a published checkpoint out: the teacher's vectors, the training, and what it did to these and other texts.

The training lies beside the destination, in DESTINATION.training, until it is done: an interrupted run goes on there.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.artifact.publish import staging
from exporter.comparison.tasks import Pairs
from exporter.distillation.effect import Closeness, closeness
from exporter.distillation.students import load_pooled
from exporter.distillation.training import HeldOut, Recipe, Trained, train
from exporter.host.console import Console
from exporter.host.environment import environment
from exporter.host.quiet import quiet_transformers
from exporter.model.checkpoint.read import read_spec
from exporter.model.checkpoint.source import resolve_source
from exporter.parity.corpus import corpus
from exporter.spec.choices import choose_strategies
from exporter.spec.model import ModelSpec
from exporter.spec.origin import ONNX_FILE, TokenizerSource, Trust
from graphs.pooling.strategy import Strategy, strategy_name
from poolfold.errors import CheckpointError, InputError
from poolfold.sessions.user_cache import write_whole

Matrix = npt.NDArray[np.float32]

_SHARE, _LEAST, _MOST = 0.1, 16, 1000
"""Of the texts, held out; at least and at most so many."""
_FEWEST = 4 * _LEAST
HELD_OUT = "held-out texts"
OTHERS = "many languages"
"""What poolfold's own validation corpus is called in a report."""
REPORT = "distillation.json"
_NOTE = "training.json"
_LIMIT = 32
"""Tokens at which the corpus has its long texts: short, for they are of one language each."""


@dataclass(frozen=True)
class DistilOptions:
    """The options of `poolfold distill`; texts are the lines of the files.

    others: name -> texts that are not trained on: other domains, other languages.
    """

    model: str
    to: str
    teacher: str
    texts: tuple[str, ...]
    pairs: Pairs | None
    others: Mapping[str, tuple[str, ...]]
    output: Path
    force: bool
    recipe: Recipe
    revision: str | None
    trust: Trust
    tokenizer: TokenizerSource = TokenizerSource.FILE


@dataclass(frozen=True)
class Distilled:
    """What came of it.

    before, after: name of some texts -> how close the student is to the teacher there.
    """

    student: str
    teacher: str
    trained: Trained
    held_out: int
    before: Mapping[str, Closeness]
    after: Mapping[str, Closeness]


def distil(options: DistilOptions, console: Console) -> Distilled:
    """Train and publish a student.

    Raises:
        PoolfoldError: bad input. The destination is then as it was.
    """
    if len(options.texts) < _FEWEST:
        raise InputError(
            f"--texts has {len(options.texts)} different texts; expected {_FEWEST} at least, and thousands for a "
            "student that is of use."
        )
    with staging(options.output, force=options.force, mark=REPORT, kind="distilled checkpoint") as place:
        with console.stage("read") as stage:
            spec, to, teacher = _read(options)
            stage.outcome = f"{spec.source.name}: {strategy_name(to)} learns from {strategy_name(teacher)}"
        work = _work(options, spec)
        try:
            distilled, student = _train(options, spec, to, teacher, work, console)
        except BaseException:
            if [path.name for path in work.iterdir()] == [_NOTE]:
                shutil.rmtree(work)
            raise
        with quiet_transformers():
            student.save_pretrained(str(place.directory), create_model_card=False)
        (place.directory / REPORT).write_text(json.dumps(as_json(distilled, options), indent=2) + "\n")
    shutil.rmtree(work, ignore_errors=True)
    return distilled


def _train(
    options: DistilOptions, spec: ModelSpec, to: Strategy, teacher: Strategy, work: Path, console: Console
) -> tuple[Distilled, Any]:
    """The trained student, and what came of it."""
    kept, held = _split(options.texts, options.recipe.seed)
    groups = {HELD_OUT: held, **options.others, OTHERS: tuple(t for t in corpus(_LIMIT) if t.strip())}
    with console.stage("teacher") as stage:
        model = load_pooled(spec, teacher)
        stage.progress(0, 1, f"vectors of {len(kept)} texts")
        vectors = _kept_vectors(work, model, kept)
        wanted = {name: _encode(model, texts) for name, texts in groups.items()}
        stage.outcome = f"{len(kept)} texts to train on, {len(held)} held out, on {model.device.type}"
        del model
    with console.stage("train") as stage:
        student = load_pooled(spec, to)
        before = _closeness(student, groups, wanted)
        judge = HeldOut(held, wanted[HELD_OUT])
        try:
            trained = train(
                student, kept, vectors, judge, options.pairs, options.recipe, work / "checkpoints", stage.progress
            )
        except KeyboardInterrupt:
            stage.warn(f"what was trained lies in {work}: the same command goes on there.")
            raise
        after = _closeness(student, groups, wanted)
        resumed = f", gone on from step {trained.resumed_from}" if trained.resumed_from else ""
        stage.outcome = f"{trained.steps} steps{resumed}, the state of step {trained.best_step} kept"
    return Distilled(strategy_name(to), strategy_name(teacher), trained, len(held), before, after), student


def as_json(distilled: Distilled, options: DistilOptions) -> dict[str, Any]:
    """What scripts read."""
    return {
        "model": options.model,
        "checkpoint": str(options.output),
        "student": distilled.student,
        "teacher": distilled.teacher,
        "held_out": distilled.held_out,
        "recipe": asdict(options.recipe),
        "training": asdict(distilled.trained),
        "closeness": {
            name: {"before": asdict(distilled.before[name]), "after": asdict(distilled.after[name])}
            for name in distilled.before
        },
        "environment": environment(),
    }


def _read(options: DistilOptions) -> tuple[ModelSpec, Strategy, Strategy]:
    spec = read_spec(resolve_source(options.model, options.revision, options.trust), options.trust, options.tokenizer)
    if spec.source.origin is ONNX_FILE:
        raise InputError(f"{options.model} is an ONNX file, which cannot be trained. Name the checkpoint it came from.")
    if spec.tokenizer.differ and spec.tokenizer.source == TokenizerSource.FILE:
        raise CheckpointError(
            f"{options.model} cannot be distilled by its tokenizer.json: sentence-transformers, which trains, takes "
            "the ids of transformers, and those differ. Pass --tokenizer transformers, or mend tokenizer_config.json."
        )
    (to,), (teacher,) = choose_strategies(spec, (options.to,)), choose_strategies(spec, (options.teacher,))
    if to == teacher:
        raise InputError(f"--to and --from are both {strategy_name(to)}: there is nothing to learn. Name two.")
    if len(to) != len(teacher):
        raise InputError(
            f"--to {strategy_name(to)} gives {len(to) * spec.hidden_size} values, and --from {strategy_name(teacher)} "
            f"{len(teacher) * spec.hidden_size}. Name strategies with as many."
        )
    return spec, to, teacher


def _work(options: DistilOptions, spec: ModelSpec) -> Path:
    """The folder of the unfinished training; refuses another training's."""
    work = options.output.parent / f"{options.output.name}.training"
    asked = [
        options.to, options.teacher, options.texts, options.pairs and asdict(options.pairs), asdict(options.recipe),
        spec.source.name, spec.source.revision,
    ]  # fmt: skip
    fingerprint = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    note = work / _NOTE
    if work.is_dir() and not (note.is_file() and note.read_text() == fingerprint):
        if not options.force:
            raise InputError(
                f"{work} holds another unfinished training. Repeat its command to go on with it, or start anew with "
                "--force."
            )
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    note.write_text(fingerprint)
    return work


def _split(texts: Sequence[str], seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """To train on, and held out; the same for the same texts."""
    shuffled = list(texts)
    random.Random(seed).shuffle(shuffled)
    held = min(_MOST, max(_LEAST, int(len(shuffled) * _SHARE)))
    return tuple(shuffled[held:]), tuple(shuffled[:held])


def _encode(model: Any, texts: Sequence[str]) -> Matrix:
    vectors: Matrix = model.encode(list(texts), show_progress_bar=False, convert_to_numpy=True).astype(np.float32)
    return vectors


def _kept_vectors(work: Path, model: Any, texts: Sequence[str]) -> Matrix:
    """The teacher's vectors, from an interrupted run where there was one."""
    path = work / "teacher.npy"
    if path.is_file():
        kept: Matrix = np.load(path)
        return kept
    vectors = _encode(model, texts)
    write_whole(path, lambda file: np.save(file, vectors))
    return vectors


def _closeness(student: Any, groups: Mapping[str, Sequence[str]], wanted: Mapping[str, Matrix]) -> dict[str, Closeness]:
    return {name: closeness(_encode(student, texts), wanted[name]) for name, texts in groups.items()}
