"""The training: squared error between the student's vectors and the teacher's, on sentence-transformers' trainer.

Scored pairs, where there are any, add CoSENT's loss in batches of their own. Held-out texts tell when to stop, and
which of the states seen to keep. Every evaluation leaves a checkpoint, from which an interrupted run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import transformers
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from sentence_transformers.sentence_transformer.losses import CoSENTLoss, MSELoss
from transformers import EarlyStoppingCallback, TrainerCallback

from exporter.comparison.quality import unit_rows
from exporter.comparison.tasks import Pairs
from exporter.host.quiet import quiet_loggers, quiet_transformers

Matrix = npt.NDArray[np.float32]
METRIC = "held_out_cosine"


@dataclass(frozen=True)
class Recipe:
    """How to train; names are the flags'.

    steps: at most so many batches.
    evaluate: batches between two looks at the held-out texts.
    patience: looks without progress after which training stops.
    """

    steps: int
    batch_size: int
    learning_rate: float
    evaluate: int
    patience: int
    seed: int


@dataclass(frozen=True)
class Trained:
    """What came of it.

    steps: batches that were trained on.
    best_step: the one whose state was kept.
    resumed_from: batches that an earlier run had done; 0 where there was none.
    cosines: step -> mean cosine to the teacher on the held-out texts.
    """

    steps: int
    best_step: int
    resumed_from: int
    cosines: dict[int, float]


class HeldOut(SentenceEvaluator):
    """The mean cosine between the student's and the teacher's vectors of texts that are not trained on."""

    def __init__(self, texts: Sequence[str], teacher: Matrix) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.primary_metric = METRIC
        self._texts, self._teacher = list(texts), unit_rows(teacher)

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        """The metric by its name."""
        return {METRIC: self.cosine(model)}

    def cosine(self, model: SentenceTransformer) -> float:
        """The metric."""
        vectors = unit_rows(model.encode(self._texts, show_progress_bar=False))
        return float((vectors * self._teacher).sum(axis=1).mean())


def train(
    student: SentenceTransformer,
    texts: Sequence[str],
    teacher: Matrix,
    held_out: HeldOut,
    pairs: Pairs | None,
    recipe: Recipe,
    work: Path,
    progress: Callable[[int, int, str], None],
) -> Trained:
    """Train the student in place; it ends in the best state that was seen.

    Args:
        student: the model.
        texts: what to train on.
        teacher: their vectors, float32 [texts, dim].
        held_out: what to stop by.
        pairs: scored pairs to train on as well.
        recipe: how.
        work: where checkpoints lie; those of an earlier run of the same training are gone on from.
        progress: called with (done, in all, what to say).
    """
    distilled = Dataset.from_dict({"sentence": list(texts), "label": list(teacher)})
    data: Any = distilled
    loss: Any = MSELoss(student)
    if pairs is not None:
        scores = _zero_to_one(pairs.scores)
        scored = Dataset.from_dict({"first": pairs.first, "second": pairs.second, "score": scores})
        data, loss = {"texts": distilled, "pairs": scored}, {"texts": loss, "pairs": CoSENTLoss(student)}
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(work),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(1, recipe.steps // 10),
        weight_decay=0.01,
        eval_strategy="steps",
        eval_steps=min(recipe.evaluate, recipe.steps),
        save_strategy="steps",
        save_steps=min(recipe.evaluate, recipe.steps),
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model=f"eval_{METRIC}",
        greater_is_better=True,
        logging_strategy="no",
        disable_tqdm=True,
        report_to=[],
        seed=recipe.seed,
        data_seed=recipe.seed,
        dataloader_pin_memory=False,
        prompts=student.prompts.get(student.default_prompt_name or "") or None,
    )
    # It would draw a bar, and describe the student by texts of the user's.
    student.model_card_data.widget = [{}]
    watcher = _Watcher(recipe.steps, held_out, progress)
    with quiet_transformers(), quiet_loggers("sentence_transformers", "accelerate", "datasets"):
        trainer = SentenceTransformerTrainer(
            model=student,
            args=arguments,
            train_dataset=data,
            loss=loss,
            evaluator=held_out,
            callbacks=[EarlyStoppingCallback(recipe.patience), watcher],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train(resume_from_checkpoint=_last_whole_checkpoint(work))
    state = trainer.state
    best = int(Path(state.best_model_checkpoint).name.rsplit("-", 1)[1]) if state.best_model_checkpoint else 0
    cosines = {int(e["step"]): float(e[f"eval_{METRIC}"]) for e in state.log_history if f"eval_{METRIC}" in e}
    # None: an earlier run had done every step.
    resumed = state.global_step if watcher.resumed_from is None else watcher.resumed_from
    return Trained(state.global_step, best, resumed, cosines)


class _Watcher(TrainerCallback):
    """Tells how far training got."""

    def __init__(self, steps: int, held_out: HeldOut, progress: Callable[[int, int, str], None]) -> None:
        self._steps, self._progress, self._said = steps, progress, ""
        self.resumed_from: int | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.resumed_from is None:  # what the trainer did, and not what it was asked for
            self.resumed_from = state.global_step - 1
        self._progress(state.global_step, self._steps, f"step {state.global_step} of {self._steps}{self._said}")

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **_: Any) -> None:
        if metrics and f"eval_{METRIC}" in metrics:
            self._said = f", cosine to the teacher on held-out texts {metrics[f'eval_{METRIC}']:.4f}"


def _zero_to_one(scores: Sequence[float]) -> list[float]:
    low, high = min(scores), max(scores)
    return [(score - low) / (high - low) for score in scores]


def _last_whole_checkpoint(work: Path) -> str | None:
    """The newest one; a run may have been killed while it wrote one. The trainer's state is the last file of each."""
    whole = [path.parent for path in work.glob("checkpoint-*/trainer_state.json")]
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2]))) if whole else None
