"""Windows in blocks give the vectors of the whole, with the same nodes for every length."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.attention.blocked_windows import BlockedWindowsPass
from graphs.files.summary import summarise
from graphs.ir.names import PROMPT_STATES
from tests.graphs.attention.long_graphs import behind_prompt, folded, peak_growth
from tests.graphs.encoders import Style, assert_same_vectors, batch_of, batches, run_on

SIZE, LONGEST = 3, 1000
WINDOWS = [(0, 0), (1, 1), (2, 0), (0, 4), (1, 3), (4, 4), (7, 2), (12, 12)]


def blocked(model: ir.Model, *, size: int = SIZE, longest: int = LONGEST) -> tuple[ir.Model, int]:
    """The graph in blocks, and how many attentions are."""
    model, blocks = model.clone(), BlockedWindowsPass(size, longest)
    assert blocks(model).modified == bool(blocks.result.attentions)
    return model, blocks.result.attentions


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "padding-free"])
@pytest.mark.parametrize("strategy", ["mean", "cls", "lasttoken"])
@pytest.mark.parametrize("grouped", [False, True], ids=["heads", "grouped"])
@pytest.mark.parametrize(("behind", "ahead"), WINDOWS)
def test_the_vectors_are_those_of_the_whole(behind, ahead, grouped, strategy, packed):
    """Every length from 1 to three blocks and 1, every amount of padding on either side."""
    whole = folded(Style(grouped=grouped, behind=behind, ahead=ahead, position="rotary"), strategy, packed=packed)
    block = max(SIZE, behind + ahead)
    lengths = range(1, 3 * block + 2) if block < 9 else (1, block, 2 * block, 2 * block + 1, 3 * block, 3 * block + 1)
    given_batches = [batch_of(np.tri(n)[:, ::step], n) for n in lengths for step in (1, -1)]
    got, attentions = blocked(whole)
    assert attentions >= 1
    for a, b in zip(run_on(whole, *given_batches), run_on(got, *given_batches), strict=True):
        assert_same_vectors(b, a)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(WINDOWS), st.integers(1, 5), st.lists(batches(), min_size=1, max_size=4))
def test_any_mask_any_block(window, size, given_batches):
    whole = folded(Style(behind=window[0], ahead=window[1]), "mean", packed=False)
    got, _ = blocked(whole, size=size)
    for a, b in zip(run_on(whole, *given_batches), run_on(got, *given_batches), strict=True):
        assert_same_vectors(b, a)


@pytest.mark.parametrize("prompt", [1, 5, 11])
@pytest.mark.parametrize("behind", [0, 2, 7])
@pytest.mark.parametrize("strategy", ["mean", "lasttoken"])
def test_behind_a_prompt_windows_reach_into_it(behind, strategy, prompt):
    style = Style(behind=behind, ahead=0, position="rotary", grouped=True)
    model, prompt_states = behind_prompt(style, strategy, prompt)
    got, attentions = blocked(model)
    assert attentions
    for n in range(1, 3 * max(SIZE, behind) + 2):
        batch = batch_of(np.tri(n), n) | {PROMPT_STATES: prompt_states}
        assert_same_vectors(run_on(got, batch)[0], run_on(model, batch)[0])


def test_a_long_row_takes_memory_by_its_length():
    """6000 tokens, whose scores alone would take 550 MiB."""
    whole = folded(Style(behind=64, ahead=64), "mean", packed=False)
    got, _ = blocked(whole, size=128, longest=8192)
    assert peak_growth(got) < 2**28 < 2**29 < peak_growth(whole)


def test_there_is_no_control_flow():
    got, attentions = blocked(folded(Style(behind=4, ahead=4), "mean", packed=False))
    assert summarise(got).attention_layers == attentions == 2
    assert not {"If", "Loop", "Scan"} & {node.op_type for node in got.graph}


@pytest.mark.parametrize(("behind", "ahead"), [(None, None), (None, 0), (4, None)])
def test_attention_without_a_window_stays(behind, ahead):
    assert blocked(folded(Style(behind=behind, ahead=ahead), "mean", packed=False))[1] == 0


@pytest.mark.parametrize(("longest", "attentions"), [(12, 0), (13, 2)])
def test_a_window_stays_where_no_text_has_a_second_block(longest, attentions):
    whole = folded(Style(behind=4, ahead=4), "mean", packed=False)
    assert blocked(whole, longest=longest)[1] == attentions


def test_a_second_application_changes_nothing():
    got, _ = blocked(folded(Style(behind=4, ahead=4), "mean", packed=False))
    assert blocked(got)[1] == 0
