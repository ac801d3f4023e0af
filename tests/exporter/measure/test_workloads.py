import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.measure.workloads import Batch, Workload, ragged_lengths, workloads
from poolfold.manifest import Text

VOCAB = 120
TOKENIZER = json.dumps(
    {
        "added_tokens": [
            {"id": 0, "content": "[PAD]", "special": True},
            {"id": 101, "content": "[CLS]", "special": True},
            {"id": 7, "content": "plain", "special": False},
        ]
    }
)


def text(limit, side="right", pad=0):
    return Text(
        max_seq_length=limit,
        padding_side=side,
        truncation_side="right",
        pad_token_id=pad,
        lower_case=False,
        prompts={},
        default_prompt_name=None,
    )


@pytest.mark.parametrize(
    ("limit", "names"),
    [
        (512, ["1x16", "1x128", "1x512", "32x16", "32x128", "32x128 ragged", "32x512"]),
        (256, ["1x16", "1x128", "1x256", "32x16", "32x128", "32x128 ragged", "32x256"]),
        (128, ["1x16", "1x128", "32x16", "32x128", "32x128 ragged"]),
        (64, ["1x16", "1x64", "32x16", "32x64", "32x64 ragged"]),
        (8, ["1x8", "32x8", "32x8 ragged"]),
        (1, ["1x1", "32x1"]),
        (8192, ["1x16", "1x128", "32x16", "32x128", "32x128 ragged", "1x8192", "2x8192"]),
    ],
)
def test_shapes_for_a_limit(limit, names):
    found = workloads(text(limit), VOCAB, TOKENIZER)
    assert sorted(w.name for w in found) == sorted(names)
    for w in found:
        assert w.name.split()[0] == f"{w.batch}x{w.seq_len}"
    sizes = [w.tokens for w in found]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pad", [0, 1])
def test_real_tokens_are_ordinary_and_padding_lies_on_its_side(side, pad):
    for w in workloads(text(256, side, pad), VOCAB, TOKENIZER):
        ((ids, mask),) = w.batches
        assert ids.dtype == mask.dtype == np.int64
        real = mask == 1
        drawn = set(ids[real].tolist())
        assert drawn <= set(range(VOCAB)) - {0, 101, pad}
        assert (ids[~real] == pad).all()
        steps = np.diff(mask, axis=1)
        assert not (steps == (-1 if side == "left" else 1)).any()
        assert w.real_tokens == real.sum()
        if "ragged" not in w.name:
            assert real.all()
    longest = max(workloads(text(512), VOCAB, TOKENIZER), key=lambda w: w.tokens)
    assert set(range(VOCAB)) - {0, 101} == set(longest.batches[0].input_ids.ravel().tolist()), (
        "premise: every ordinary id is drawn"
    )


def test_the_same_seed_gives_the_same_batches_and_another_seed_others():
    one, again, other = (workloads(text(128), VOCAB, TOKENIZER, seed=seed) for seed in (3, 3, 4))
    ids = [[w.batches[0].input_ids for w in found] for found in (one, again, other)]
    assert all(np.array_equal(a, b) for a, b in zip(ids[0], ids[1], strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(ids[0], ids[2], strict=True))


@settings(max_examples=50)
@given(seed=st.integers(0, 2**32), rows=st.integers(1, 64), seq_len=st.integers(1, 512))
def test_ragged_lengths_stay_within_the_row(seed, rows, seq_len):
    lengths = ragged_lengths(np.random.default_rng(seed), rows, seq_len)
    assert lengths.dtype == np.int64
    assert lengths.min() >= 1
    assert lengths.max() == seq_len


def test_about_half_of_a_ragged_batch_is_real():
    shares = [ragged_lengths(np.random.default_rng(seed), 32, 128).mean() / 128 for seed in range(20)]
    assert all(0.38 < share < 0.66 for share in shares), shares
    assert 0.48 < np.mean(shares) < 0.56


def test_a_workload_of_several_batches_counts_all_of_them():
    def batch(lengths):
        mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
        return Batch(np.ones_like(mask), mask)

    found = Workload("sorted", (batch([5, 4]), batch([2, 1, 1])))
    assert (found.batch, found.seq_len, found.tokens, found.real_tokens) == (5, 5, 16, 13)
