"""How much is proven: all that the seconds and the memory reach, cut as the tokeniser cuts, the same every time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import tokenizers

from exporter.parity.checks import candidate_shapes, check, reference_shapes, run_reference
from exporter.parity.corpus import awkward, corpus
from exporter.parity.ladder import Costs
from exporter.parity.proof import FEWEST, Allowance, Proof, planned, prove
from exporter.parity.tokens import MOST_PAIRS, Tokens, sorted_batches, tokenise
from exporter.spec.model import DType
from graphs.pooling.strategy import PoolingMode, Strategy
from poolfold.errors import InputError
from poolfold.manifest import Executor, Text
from poolfold.tokenise import Tokenizer

MEAN = (PoolingMode.MEAN,)
OWN = tuple(f"{'word ' * n}number {n}" for n in range(1, 700, 7))
FREE = Allowance(seconds=math.inf, length=None, candidates=4)


class Machine:
    """A reference whose calls take what `costs` say on its own clock."""

    name, described = "fake", "nothing"

    def __init__(self, costs: Costs) -> None:
        self.costs, self.now = costs, 0.0
        self.shapes: list[tuple[int, int]] = []

    def embed(self, ids: np.ndarray, mask: np.ndarray, strategies: Sequence[Strategy]) -> Mapping[Strategy, np.ndarray]:
        rows, length = ids.shape
        self.shapes.append((rows, length))
        self.now += self.costs.seconds(rows, length)
        tokens = np.stack([np.cos(ids * k) for k in (1, 2, 3)], axis=-1) + 1.5
        real = (mask > 0)[..., None]
        mean = ((tokens * real).sum(axis=1) / real.sum(axis=1)).astype(np.float32)
        return dict.fromkeys(strategies, mean)


def tokenizer(length: int) -> Tokenizer:
    words = sorted({word for text in (*corpus(8), *OWN) for word in text.split()})
    vocabulary = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3} | {word: i for i, word in enumerate(words, 4)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    text = Text(
        max_seq_length=length,
        padding_side="right",
        truncation_side="right",
        pad_token_id=0,
        lower_case=False,
        prompts={},
        default_prompt_name=None,
    )
    return Tokenizer(made.to_str(), text, max(vocabulary.values()) + 1)


def read(length: int) -> Tokens:
    return tokenise((*corpus(length), *OWN), tokenizer(length))


def proven(allowance: Allowance, limit: int = 8192, costs: Costs | None = None) -> Proof:
    machine = Machine(costs or Costs(token_s=1e-3))
    return prove(machine, read, limit, [MEAN], allowance, clock=lambda: machine.now)


def seconds(proof: Proof, allowance: Allowance, costs: Costs) -> float:
    tokens = proof.run.tokens
    once = sum(costs.seconds(*shape) for shape in reference_shapes(tokens))
    return once + allowance.candidates * sum(costs.seconds(*shape) for shape in candidate_shapes(tokens))


@pytest.mark.parametrize("limit", [24, 128, 256, 512])
def test_where_the_seconds_allow_it_the_whole_limit_and_the_same_batches_are_proven(limit: int) -> None:
    proof = proven(FREE, limit)
    assert (proof.length, proof.why, list(proof.notes())) == (limit, "", [])
    plain = run_reference(Machine(Costs()), read(limit), [MEAN])
    assert proof.run.tokens == plain.tokens
    assert [batch.rows for batch in proof.run.batches] == [batch.rows for batch in plain.batches]
    np.testing.assert_array_equal(proof.run.vectors[MEAN], plain.vectors[MEAN])
    assert proof.scope() == f"{len(plain.tokens.rows)} texts"


@pytest.mark.parametrize("turn", [300, 2000])
@pytest.mark.parametrize("allowed", [20, 150, 800])
def test_what_is_proven_stays_within_the_seconds(allowed: float, turn: float) -> None:
    costs, allowance = Costs(token_s=1e-3, turn=turn), replace(FREE, seconds=allowed)
    proof = proven(allowance, costs=costs)
    assert 128 <= proof.length < 8192
    assert seconds(proof, allowance, costs) <= allowed
    assert any(f"--validate-seconds {allowed}" in note for note in proof.notes())


def test_faster_machines_and_more_seconds_prove_longer_texts() -> None:
    lengths = [proven(replace(FREE, seconds=10 * 3**power)).length for power in range(6)]
    assert lengths == sorted(lengths)
    assert len(set(lengths)) >= 3


def test_texts_are_cut_as_the_tokeniser_cuts_them_to_what_is_proven() -> None:
    short = Costs(least_s=1.5, token_s=1e-5)  # so that calls count, not tokens
    tokens = proven(replace(FREE, seconds=900, pair_bytes=64, room=2**26), costs=short).run.tokens
    length = tokens.max_seq_length
    assert length < 600
    ids = dict(zip(tokens.texts, tokens.rows, strict=True))
    longest = [row for row in tokens.rows if len(row) == length]
    assert len(longest) > 1
    assert all(row[0] == 1 and row[-1] == 2 for row in tokens.rows)
    text = max((t for t in OWN if t in ids), key=len)
    assert list(ids[text]) == tokenizer(length).ids([text])[0]


def test_a_length_that_is_insisted_on_is_proven_whatever_it_takes() -> None:
    proof = proven(replace(FREE, length=700), costs=Costs(token_s=1e6))
    assert (proof.length, max(map(len, proof.run.tokens.rows))) == (700, 700)
    assert next(proof.notes()).startswith("validated up to 700 of 8192 tokens. ")
    assert len(proof.run.tokens.rows) == proof.texts


def test_an_attention_window_is_crossed_whatever_it_takes_and_not_what_memory_cannot_hold() -> None:
    slow = Costs(token_s=1e6)
    assert proven(replace(FREE, seconds=1, switch=1026), costs=slow).length == 1026
    assert proven(replace(FREE, seconds=1, switch=1026), limit=1000, costs=slow).length == 128
    assert proven(replace(FREE, seconds=1, switch=1026, pair_bytes=64, room=2**24), costs=slow).length == 128


def test_memory_bounds_the_length_and_says_so() -> None:
    allowance = replace(FREE, pair_bytes=64, room=2**30)
    proof = proven(allowance)
    pairs = max(rows * length**2 for rows, length in candidate_shapes(proof.run.tokens))
    assert 512 <= proof.length < 8192
    assert 3 * pairs * 64 <= 2**30
    assert "memory" in next(proof.notes())
    with pytest.raises(InputError, match=r"--validate-length 8000 takes 4 GiB .* has 1 GiB"):
        proven(replace(allowance, length=8000))


def test_of_too_many_texts_the_awkward_ones_come_first_and_the_rest_is_the_same_every_time() -> None:
    slow = replace(FREE, seconds=1)
    few = proven(slow, costs=Costs(token_s=1e6))
    assert FEWEST <= len(few.run.tokens.rows) <= FEWEST + 8
    assert set(few.run.tokens.texts) <= {*awkward(), *corpus(128)}
    assert f"checked {len(few.run.tokens.rows)} of {few.texts} texts" in next(few.notes())
    some = replace(FREE, seconds=500)
    first, again = proven(some).run.tokens, proven(some).run.tokens
    assert first == again
    assert FEWEST + 8 < len(first.rows) < len(read(first.max_seq_length).rows)
    assert {text for text in awkward() if text in read(128).texts} <= set(first.texts)


def test_short_texts_run_first_and_no_long_row_before_its_cost_is_foretold() -> None:
    machine = Machine(Costs(token_s=1e-3))
    prove(machine, read, 8192, [MEAN], replace(FREE, seconds=2000), clock=lambda: machine.now)
    widths = [length for _, length in machine.shapes]
    assert widths[0] < 16
    first = {width: widths.index(width) for width in (256, 512)}
    assert all(max(widths[: first[width]]) <= width for width in first)


def test_the_plan_has_the_shapes_that_are_run() -> None:
    machine, tokens = Machine(Costs()), read(512)
    run = run_reference(machine, tokens, [MEAN])
    assert machine.shapes == reference_shapes(tokens)
    machine.shapes.clear()
    ran_on = Executor(target="onnxruntime", device="cpu")
    check(run, MEAN, DType.FP32, lambda ids, mask: machine.embed(ids, mask, [MEAN])[MEAN], ran_on)
    assert sorted(machine.shapes) == sorted(candidate_shapes(tokens))
    total = sum(rows * length for rows, length in candidate_shapes(tokens))
    assert sum(r * n for r, n in candidate_shapes(planned(read(8192), 512))) == pytest.approx(total, rel=0.1)


@pytest.mark.parametrize("length", [300, 1000, 3000])
def test_no_batch_holds_many_long_rows(length: int) -> None:
    rows = tuple((1,) * n for n in (4, 5, 6, *[length] * 60))
    tokens = Tokens(tuple(map(str, range(63))), rows, (0,) * 63, 0, "right", 4000, 9)
    for batch in sorted_batches(tokens):
        number, width = batch.input_ids.shape
        assert number == 1 or (number * width**2 <= MOST_PAIRS and number * width <= 8192)
    assert all(number <= 2 or number * width**2 <= 2 * MOST_PAIRS for number, width in candidate_shapes(tokens))
