"""The whole of the checks against a small model whose every step is known, sound and broken in one way at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from exporter.parity.checks import check, run_reference
from exporter.parity.compare import LIMITS, int8_limits
from exporter.parity.report import MASKED
from exporter.parity.tokens import Tokens
from exporter.spec.model import DType
from graphs.pooling.strategy import PoolingMode, Strategy, pool
from poolfold.errors import CheckFailed, CheckpointError, InputError

CLS: Strategy = (PoolingMode.CLS,)
MEAN: Strategy = (PoolingMode.MEAN,)
BOTH: Strategy = (PoolingMode.CLS, PoolingMode.MEAN)
STRATEGIES = (CLS, MEAN, BOTH)
VOCAB, WIDTH = 50, 16
SAID = "onnxruntime cpu"
HALF = (DType.FP16, DType.BF16)


@dataclass(frozen=True)
class Model:
    """Token vectors, each moved by an average of the row's tokens, pooled. float64 inside, so that batches agree."""

    table: np.ndarray
    mix: np.ndarray
    name = "the toy"

    def hidden(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        tokens = self.table[ids]
        context = (np.tanh(tokens @ self.mix) * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
        return tokens + context[:, None]

    def one(self, strategy: Strategy, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return pool(self.hidden(ids, mask), mask, strategy)

    def embed(self, ids: np.ndarray, mask: np.ndarray, strategies: Sequence[Strategy]) -> Mapping[Strategy, np.ndarray]:
        return {strategy: self.one(strategy, ids, mask) for strategy in strategies}


def make_model() -> Model:
    rng = np.random.default_rng(0)
    return Model(rng.standard_normal((VOCAB, WIDTH)), rng.standard_normal((WIDTH, WIDTH)))


def make_tokens(padding_side: str = "right", limit: int = 24) -> Tokens:
    rng = np.random.default_rng(1)
    lengths = [2, 3, limit, *rng.integers(3, 12, size=37)]
    rows = tuple((1, *(int(i) for i in rng.integers(3, VOCAB, size=n - 2)), 2) for n in lengths)
    return Tokens(tuple(f"text {i}" for i in range(len(rows))), rows, (0,) * len(rows), 0, padding_side, limit, VOCAB)


MODEL = make_model()
TOKENS = make_tokens()
RUN = run_reference(MODEL, TOKENS, STRATEGIES)
TURNED = np.full(WIDTH, WIDTH**-0.5, np.float32)
"""A direction of unit length."""


def failing(embed: Callable, dtype: DType = DType.FP32, strategy: Strategy = MEAN) -> set[str]:
    report = check(RUN, strategy, dtype, embed, SAID)
    failed = {c.name for c in report.checks if not c.passed}
    assert report.passed == (not failed)
    return failed


def sound(strategy: Strategy = MEAN) -> Callable:
    return functools.partial(MODEL.one, strategy)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_model_itself_passes_every_check(strategy, dtype, side):
    run = run_reference(MODEL, make_tokens(side), STRATEGIES)
    report = check(run, strategy, dtype, sound(strategy), SAID)
    assert report.passed, report.explain()
    assert (report.strategy, report.dtype, report.executor) == ("+".join(strategy), dtype.value, SAID)
    assert (report.n_texts, report.dim) == (40, WIDTH * len(strategy))
    assert [c.name for c in report.checks] == [
        "unusable_rows",
        "cosine",
        "difference",
        "neighbours",
        "alone_cosine",
        "padded_cosine",
        "reordered_cosine",
        "masked_ids_right_cosine",
        "masked_ids_left_cosine",
        "masked_ids_holes_cosine",
        "other_side_cosine",
    ]


def test_int8_is_judged_by_averages_too():
    """A text that is off by no more than the floor allows passes; all texts off by as much do not."""

    def off(rows):
        def embed(ids, mask):
            vectors = MODEL.one(MEAN, ids, mask)
            far = mask.sum(axis=1) <= rows
            return vectors + 0.12 * far[:, None] * np.linalg.norm(vectors, axis=1, keepdims=True) * TURNED

        report = check(RUN, MEAN, DType.INT8, embed, SAID, int8_limits(0.99))
        return {c.name: c.value for c in report.checks}, {c.name for c in report.checks if not c.passed}

    values, failed = off(0)
    assert failed == set()
    others = {c.name for c in check(RUN, MEAN, DType.FP32, sound(), SAID).checks}
    assert [name for name in values if name not in others] == ["cosine_1_percent", "cosine_mean", "neighbours_mean"]
    values, failed = off(3)
    assert failed == set()
    assert 0.99 < values["cosine"] < values["cosine_mean"]
    values, failed = off(10_000)
    assert values["cosine"] > 0.99
    assert failed == {"cosine_mean"}


def test_int8_that_loses_neighbours_alone_fails():
    turn = np.random.default_rng(5).standard_normal((WIDTH, WIDTH)) / np.sqrt(WIDTH)

    def embed(ids, mask):
        vectors = MODEL.one(MEAN, ids, mask)
        return (vectors + vectors @ turn).astype(np.float32)

    report = check(RUN, MEAN, DType.INT8, embed, SAID, int8_limits(0.01))
    assert {c.name for c in report.checks if not c.passed} == {"neighbours_mean"}


def test_the_reference_runs_once_for_all_strategies():
    calls = []

    class Counting:
        name = "counting"

        def embed(self, ids, mask, strategies):
            calls.append((len(ids), tuple(strategies)))
            return MODEL.embed(ids, mask, strategies)

    seen = []
    run = run_reference(Counting(), TOKENS, STRATEGIES, progress=lambda *said: seen.append(said))
    assert {s for _, s in calls} == {STRATEGIES}
    assert len(calls) == len(run.batches) + len(run.other_side)
    assert seen[-1][0] == pytest.approx(seen[-1][1])
    assert seen[-1][2] == "40 of 40 texts"
    assert [done for done, *_ in seen] == sorted(done for done, *_ in seen)
    for strategy in STRATEGIES:
        alone = np.concatenate([MODEL.one(strategy, np.array([r]), np.ones((1, len(r)), int)) for r in TOKENS.rows])
        np.testing.assert_allclose(run.vectors[strategy], alone, atol=1e-6)


def test_another_pooling_fails():
    assert {"cosine", "difference", "neighbours", "other_side_cosine"} <= failing(sound(CLS))
    for half in HALF:
        assert {"cosine", "neighbours", "other_side_cosine"} <= failing(sound(CLS), half)


def test_a_dropped_mask_fails_wherever_there_is_padding():
    def maskless(ids, mask):
        return MODEL.one(MEAN, ids, np.ones_like(mask))

    assert {"alone_cosine", "padded_cosine", "reordered_cosine", "other_side_cosine"} <= failing(maskless)
    assert failing(maskless) >= MASKED
    for half in HALF:
        assert {"padded_cosine", "other_side_cosine", *MASKED} <= failing(maskless, half)


@pytest.mark.parametrize("where", ["right", "left", "holes"])
def test_one_masked_id_that_is_read_fails_where_it_is_and_nowhere_else(where):
    def reads(ids, mask):
        hidden = mask == 0
        inside = np.cumsum(mask, axis=1) * np.cumsum(mask[:, ::-1], axis=1)[:, ::-1] > 0
        left = hidden & (np.cumsum(mask, axis=1) == 0)
        read = {"holes": hidden & inside, "left": left, "right": hidden & ~inside & ~left}[where]
        # As an attention that sees the masked places of one kind, whatever the usual padding gives there.
        leak = (MODEL.table[ids] * read[..., None]).sum(1) - MODEL.table[0] * read.sum(1, keepdims=True)
        return (MODEL.one(MEAN, ids, mask) + leak * (where != "holes" or hidden.any())).astype(np.float32)

    assert f"masked_ids_{where}_cosine" in failing(reads)
    assert not (MASKED - {f"masked_ids_{where}_cosine"}) & failing(reads)


def test_one_scaled_weight_fails():
    mix = MODEL.mix.copy()
    mix[3, 5] *= 1.02
    assert {"cosine", "difference"} <= failing(functools.partial(replace(MODEL, mix=mix).one, MEAN))


def test_one_row_of_another_text_fails_although_all_others_are_right():
    victim, other = (1, *TOKENS.rows[7][1:]), TOKENS.rows[8]

    def permuted(ids, mask):
        vectors = MODEL.one(MEAN, ids, mask)
        for row, (i, m) in enumerate(zip(ids, mask, strict=True)):
            if tuple(i[m > 0]) == victim:
                vectors[row] = MODEL.one(MEAN, np.array([other]), np.ones((1, len(other)), int))[0]
        return vectors

    for dtype in LIMITS:
        report = check(RUN, MEAN, dtype, permuted, SAID)
        checks = {c.name: c for c in report.checks}
        assert not checks["cosine"].passed
        assert checks["cosine"].text == "'text 7'"
        assert report.worst[0].text == "'text 7'"
        assert report.worst[1].cosine > 0.9999
        assert "'text 7'" in report.explain()


def on_text(index: int, change: Callable[[np.ndarray], np.ndarray | float]) -> Callable:
    """The model, with one text's vector changed wherever it is asked for."""

    def embed(ids, mask):
        vectors = MODEL.one(MEAN, ids, mask)
        for row, (i, m) in enumerate(zip(ids, mask, strict=True)):
            if tuple(i[m > 0]) == TOKENS.rows[index]:
                vectors[row] = change(vectors[row])
        return vectors

    return embed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
@pytest.mark.parametrize("dtype", LIMITS)
def test_one_unusable_row_fails_and_is_named(value, dtype):
    report = check(RUN, MEAN, dtype, on_text(5, lambda _: value), SAID)
    first = report.checks[0]
    assert (first.name, first.value, first.passed, first.text) == ("unusable_rows", 1.0, False, "'text 5'")
    assert not report.checks[1].passed
    assert all(np.isfinite(c.value) for c in report.checks)


def test_one_nan_among_many_values_fails():
    def poison(vector):
        return np.where(np.arange(WIDTH) == 3, np.nan, vector)

    assert "unusable_rows" in failing(on_text(5, poison))


def test_a_candidate_that_refuses_to_return_an_unusable_row_is_reported_the_same():
    def refusing(ids, mask):
        vectors = on_text(5, lambda _: np.nan)(ids, mask)
        if not np.isfinite(vectors).all():
            raise CheckFailed("not finite")
        return vectors

    report = check(RUN, MEAN, DType.FP32, refusing, SAID)
    assert report == check(RUN, MEAN, DType.FP32, on_text(5, lambda _: np.nan), SAID)
    assert report.checks[0].value == 1.0


def test_rows_that_only_fail_in_company_all_count():
    def needs_solitude(ids, mask):
        if len(ids) > 1:
            raise CheckFailed("not finite")
        return MODEL.one(MEAN, ids, mask)

    report = check(RUN, MEAN, DType.FP32, needs_solitude, SAID)
    in_company = sum(len(batch.rows) for batch in RUN.batches if len(batch.rows) > 1)
    assert in_company > 30
    assert report.checks[0].value == in_company


def test_a_vector_that_depends_on_its_company_fails_alone():
    def in_company(ids, mask):
        vectors = MODEL.one(MEAN, ids, mask)
        return (vectors + 0.1 * vectors.mean(axis=0)).astype(np.float32) if len(ids) > 1 else vectors

    assert "alone_cosine" in failing(in_company)
    for half in HALF:
        assert "alone_cosine" in failing(in_company, half)


def test_padding_that_leaks_only_when_it_fills_the_model_fails_padded_alone():
    limit = TOKENS.max_seq_length

    def leaks(ids, mask):
        full_of_padding = len(ids) == 1 and mask.shape[1] == limit and mask.sum() < limit and mask[0, 0]
        return MODEL.one(MEAN, ids, mask) + np.float32(0.1 if full_of_padding else 0) * np.arange(WIDTH)

    assert failing(leaks) == {"padded_cosine"}
    for half in HALF:
        assert failing(leaks, half) == {"padded_cosine"}


def test_a_vector_that_depends_on_its_place_in_the_batch_fails_reordered():
    def by_place(ids, mask):
        vectors = MODEL.one(MEAN, ids, mask)
        mixed = len(set(mask.sum(axis=1))) > 1 and mask[0].sum() == mask.shape[1]
        return vectors + np.arange(len(ids), dtype=np.float32)[:, None] * (0.01 if mixed else 0)

    assert failing(by_place) == {"reordered_cosine"}


def test_a_first_token_taken_from_the_first_column_fails_on_the_left_only():
    def first_column(ids, mask):
        return MODEL.hidden(ids, mask)[:, 0].astype(np.float32)

    left = {"other_side_cosine", "masked_ids_left_cosine"}
    assert failing(first_column, strategy=CLS) == left
    for half in HALF:
        assert failing(first_column, half, strategy=CLS) == left


def test_positions_that_are_counted_in_too_few_bits_fail_on_the_other_side_only():
    def counts_to_16(ids, mask):
        first = mask.argmax(axis=1)
        first = np.where(first > 16, first // 2 * 2, first)
        return MODEL.hidden(ids, mask)[np.arange(len(ids)), first].astype(np.float32)

    for dtype in LIMITS:
        assert failing(counts_to_16, dtype, strategy=CLS) == {"other_side_cosine"}


def test_one_value_slightly_off_fails_the_difference_and_nothing_else():
    def nudged(vector):
        return vector + np.eye(WIDTH)[2] * 5e-5 * np.linalg.norm(vector)

    assert failing(on_text(9, nudged)) == {"difference"}
    for half in HALF:
        assert failing(on_text(9, nudged), half) == set()


def test_vectors_of_another_width_are_refused():
    with pytest.raises(CheckFailed, match=r"\[\d+, 32\]; expected \[\d+, 16\]"):
        failing(sound(BOTH))


def test_a_reference_that_is_not_finite_is_refused_and_the_text_named():
    class Broken:
        name = "the toy"

        def embed(self, ids, mask, strategies):
            return {MEAN: on_text(5, lambda _: np.nan)(ids, mask)}

    with pytest.raises(CheckpointError, match=r"the toy's own mean vector of 'text 5' is not finite"):
        run_reference(Broken(), TOKENS, [MEAN])


@pytest.mark.parametrize("tokens", [replace(TOKENS, texts=("a",), rows=((1, 2),)), replace(TOKENS, max_seq_length=2)])
def test_texts_that_could_show_nothing_are_refused(tokens):
    tokens = replace(tokens, rows=tuple(row[: tokens.max_seq_length] for row in tokens.rows))
    with pytest.raises(InputError, match="cannot show whether padding is ignored"):
        run_reference(MODEL, tokens, [MEAN])
