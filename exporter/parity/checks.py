"""The reference's vectors once for all strategies, and then every check of one candidate against them.

Knows a reference and a candidate as functions from token ids to vectors; no graph, runtime or checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from exporter.parity import variants
from exporter.parity.compare import LIMITS, Limits, compare, cosines
from exporter.parity.ladder import Costs
from exporter.parity.report import Check, ParityReport, at_least, at_most, none_of, over_all, worst_texts
from exporter.parity.tokens import Batch, Tokens, sorted_batches, sorted_groups
from exporter.spec.model import DType
from exporter.spec.reference import Reference
from graphs.pooling.strategy import Strategy, strategy_name
from poolfold.errors import CheckFailed, CheckpointError, InputError
from poolfold.manifest import Executor
from poolfold.sessions.outputs import refused_rows
from poolfold.tokenise import shorten

__all__ = ["Embed", "ParityReport", "ReferenceRun", "check", "run_reference", "up_to"]

Matrix = npt.NDArray[np.float32]
Shape = tuple[int, int]
"""Rows and tokens of a batch, padding included."""
Progress = Callable[[float, float, str], None]
"""Done, in all, and what is being done."""
Embed = Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], Matrix]
"""input_ids, attention_mask, int64 [batch, seq] -> float32 [batch, dim]. CheckFailed says that rows are unusable."""

_MASKED = ("right", "left", "holes")


@dataclass(frozen=True, eq=False)
class ReferenceRun:
    """The reference's vectors, and what they are the vectors of.

    reference: its name.
    batches: every text once, as the tokeniser pads.
    other_side: some texts, padded on the other side.
    vectors: strategy -> float32 [texts, dim], in the order of the texts.
    other_vectors: strategy -> float32, the rows of `other_side` one after the other.
    """

    reference: str
    tokens: Tokens
    batches: tuple[Batch, ...]
    other_side: tuple[Batch, ...]
    vectors: Mapping[Strategy, Matrix]
    other_vectors: Mapping[Strategy, Matrix]


def run_reference(
    reference: Reference,
    tokens: Tokens,
    strategies: Sequence[Strategy],
    progress: Progress | None = None,
    costs: Costs | None = None,
) -> ReferenceRun:
    """Compute the reference's vectors of every text, for all strategies at once.

    Args:
        reference: the model.
        tokens: the texts; at least two.
        strategies: what to pool.
        progress: called after each batch with (work done, work in all, texts done in words).
        costs: what a batch's work is; None for what most models' is.

    Raises:
        InputError: fewer than two texts, or none that is shorter than the model's limit.
        CheckpointError: the reference itself gives a vector that is not finite or is zero; names the text.
    """
    if len(tokens.rows) < 2 or not variants.padded(tokens):
        raise InputError(
            f"got {len(tokens.rows)} texts, which cannot show whether padding is ignored; expected at least two, with "
            f"one shorter than the limit of {tokens.max_seq_length} tokens. Add short texts."
        )
    batches, other_side = sorted_batches(tokens), variants.other_side(tokens)
    # In order of the batches; the rows are put in place below.
    parts: dict[Strategy, list[Matrix]] = {strategy: [] for strategy in strategies}
    work = [(costs or Costs()).seconds(*batch.input_ids.shape) for batch in (*batches, *other_side)]
    texts = 0
    for number, batch in enumerate((*batches, *other_side), 1):
        for strategy, vectors in reference.embed(batch.input_ids, batch.attention_mask, strategies).items():
            if refused_rows(vectors).any():
                text = tokens.texts[batch.rows[int(refused_rows(vectors).argmax())]]
                raise CheckpointError(
                    f"{reference.name}'s own {strategy_name(strategy)} vector of {shorten(text)} is not finite, or is "
                    "zero. Expected finite weights and activations: the checkpoint is damaged, or overflows in fp32."
                )
            parts[strategy].append(vectors)
        texts = min(texts + len(batch.rows), len(tokens.rows))
        if progress is not None:
            progress(sum(work[:number]), sum(work), f"{texts} of {len(tokens.rows)} texts")
    stacked = {strategy: np.concatenate(vectors) for strategy, vectors in parts.items()}
    places = np.argsort([row for batch in batches for row in batch.rows])
    count = len(tokens.rows)
    return ReferenceRun(
        reference=reference.name,
        tokens=tokens,
        batches=batches,
        other_side=other_side,
        vectors={strategy: rows[:count][places] for strategy, rows in stacked.items()},
        other_vectors={strategy: rows[count:] for strategy, rows in stacked.items()},
    )


def up_to(run: ReferenceRun, length: int) -> ReferenceRun:
    """The part of a run whose texts have at most `length` tokens, padding included; nothing is run again."""
    tokens = run.tokens
    if tokens.max_seq_length <= length:
        return run
    kept = [row for row, ids in enumerate(tokens.rows) if len(ids) <= length]
    place = {row: number for number, row in enumerate(kept)}
    shorter = replace(
        tokens,
        texts=tuple(tokens.texts[row] for row in kept),
        rows=tuple(tokens.rows[row] for row in kept),
        left_out=tuple(tokens.left_out[row] for row in kept),
        max_seq_length=length,
    )
    first, other_side = 0, []
    others: list[int] = []
    for batch in run.other_side:
        rows = range(first, first + len(batch.rows))
        first += len(batch.rows)
        if batch.input_ids.shape[1] <= length:
            other_side.append(batch._replace(rows=tuple(place[row] for row in batch.rows)))
            others.extend(rows)
    return ReferenceRun(
        reference=run.reference,
        tokens=shorter,
        batches=sorted_batches(shorter),
        other_side=tuple(other_side),
        vectors={strategy: vectors[kept] for strategy, vectors in run.vectors.items()},
        other_vectors={strategy: vectors[others] for strategy, vectors in run.other_vectors.items()},
    )


def check(
    run: ReferenceRun, strategy: Strategy, dtype: DType, embed: Embed, executor: Executor, limits: Limits | None = None
) -> ParityReport:
    """Hold a candidate against the reference, and against itself on the same texts asked for in other ways.

    Args:
        run: the reference's vectors.
        strategy: which of them.
        dtype: the candidate's precision.
        embed: the candidate.
        executor: what computes it, for the report.
        limits: what it is held to; None for what its precision is.
    """
    texts, limits, wanted = run.tokens.texts, limits or LIMITS[dtype], run.vectors[strategy]
    dim = wanted.shape[1]
    got = np.empty_like(wanted)
    for batch in run.batches:
        got[list(batch.rows)] = _embed(embed, batch, dim)
    comparison = compare(wanted, got, limits.tie)
    checks = [
        none_of("unusable_rows", comparison.unusable.tolist(), texts),
        at_least("cosine", comparison.cosine.tolist(), limits.cosine, texts),
        at_most("difference", comparison.difference.tolist(), limits.difference, texts),
        at_least("neighbours", comparison.neighbours.tolist(), limits.neighbours, texts),
    ]
    if limits.mean is not None:
        cosine, neighbours = comparison.cosine, comparison.neighbours
        checks.append(over_all("cosine_1_percent", float(np.quantile(cosine, 0.01)), None))
        checks.append(over_all("cosine_mean", float(cosine.mean()), limits.mean))
        checks.append(over_all("neighbours_mean", float(neighbours.mean()), limits.neighbours_mean))
    for name, make in (("alone", variants.alone), ("padded", variants.padded), ("reordered", variants.reordered)):
        batches = make(run.tokens)
        rows = [row for batch in batches for row in batch.rows]
        checks.append(_same(f"{name}_cosine", embed, batches, got[rows], limits.same_text, texts))
    checks += [_masked(run.tokens, where, embed, limits.same_text, dim) for where in _MASKED]
    other = run.other_vectors[strategy]
    checks.append(_same("other_side_cosine", embed, run.other_side, other, limits.cosine, texts))
    return ParityReport(
        reference=run.reference,
        strategy=strategy_name(strategy),
        dtype=dtype.value,
        executor=executor,
        passed=all(c.passed for c in checks),
        n_texts=len(texts),
        up_to=run.tokens.max_seq_length,
        dim=dim,
        checks=tuple(checks),
        worst=worst_texts(comparison.cosine.tolist(), texts),
    )


def reference_shapes(tokens: Tokens) -> list[Shape]:
    """Every batch that `run_reference` runs."""
    groups = sorted_groups(tokens)
    shapes = [(len(group), len(tokens.rows[group[-1]])) for group in groups]
    return [*shapes, *(_shape(batch) for batch in variants.other_side(tokens))]


def candidate_shapes(tokens: Tokens) -> list[Shape]:
    """Every batch that `check` runs on a candidate which refuses none."""
    others = [make(tokens) for make in (variants.alone, variants.padded, variants.reordered)]
    masked = [variants.masked(tokens, where) for where in _MASKED]
    return [*reference_shapes(tokens), *(_shape(batch) for batches in (*others, *masked) for batch in batches)]


def _shape(batch: Batch) -> Shape:
    rows, length = batch.input_ids.shape
    return rows, length


def _same(
    name: str, embed: Embed, batches: Sequence[Batch], wanted: Matrix, limit: float, texts: Sequence[str]
) -> Check:
    """The smallest cosine between the candidate's vectors of some batches and the vectors they must equal."""
    got = np.concatenate([_embed(embed, batch, wanted.shape[1]) for batch in batches])
    return at_least(name, cosines(wanted, got).tolist(), limit, [texts[row] for b in batches for row in b.rows])


def _masked(tokens: Tokens, where: str, embed: Embed, limit: float, dim: int) -> Check:
    """The smallest cosine between vectors of texts with one and with other ids under mask 0. No reference is needed."""
    usual, others = variants.masked(tokens, where)
    return _same(f"masked_ids_{where}_cosine", embed, [others], _embed(embed, usual, dim), limit, tokens.texts)


def _embed(embed: Embed, batch: Batch, dim: int) -> Matrix:
    """The candidate's vectors, float32 [batch, dim]; NaN in the rows that it refuses to return.

    Raises:
        CheckFailed: vectors of another shape.
    """
    try:
        vectors = embed(batch.input_ids, batch.attention_mask)
    except CheckFailed:
        return _embed_singly(embed, batch, dim)
    if vectors.shape != (len(batch.rows), dim):
        raise CheckFailed(
            f"the candidate gave vectors of shape {list(vectors.shape)}; expected {[len(batch.rows), dim]}, as the "
            "reference gives. Its pooling or its head differs from the checkpoint's."
        )
    return vectors


def _embed_singly(embed: Embed, batch: Batch, dim: int) -> Matrix:
    """The rows of a refused batch one by one, padded as in the batch, to see which of them are to blame."""
    nothing = np.full((len(batch.rows), dim), np.nan, dtype=np.float32)
    if len(batch.rows) == 1:
        return nothing
    singles = (
        Batch(batch.input_ids[i : i + 1], batch.attention_mask[i : i + 1], (row,)) for i, row in enumerate(batch.rows)
    )
    vectors = np.concatenate([_embed(embed, single, dim) for single in singles])
    # Refused together and usable one by one: then the company breaks them, and none may count.
    return vectors if refused_rows(vectors).any() else nothing
