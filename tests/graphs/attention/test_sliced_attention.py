"""Attention in slices gives the vectors of the whole, and holds no score that the mask hides."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.attention.sliced_attention import SlicedAttentionPass
from graphs.files.summary import summarise
from graphs.ir.names import PROMPT_STATES
from tests.graphs.attention.long_graphs import behind_prompt, folded, peak_growth
from tests.graphs.encoders import Style, assert_same_vectors, batch_of, batches, run_on

SIZE = 3
BANDS = [(None, None), (None, 0), (0, 0), (1, 1), (2, 0), (0, 4), (4, 4), (7, 2), (12, 12)]


def sliced(model: ir.Model, *, whole_up_to: int = 2, size: int = SIZE) -> tuple[ir.Model, SlicedAttentionPass]:
    model, slices = model.clone(), SlicedAttentionPass(whole_up_to, size)
    assert slices(model).modified == bool(slices.result.attentions)
    return model, slices


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "padding-free"])
@pytest.mark.parametrize("strategy", ["mean", "cls", "lasttoken"])
@pytest.mark.parametrize("grouped", [False, True], ids=["heads", "grouped"])
@pytest.mark.parametrize(("behind", "ahead"), BANDS)
def test_the_vectors_are_those_of_the_whole(behind, ahead, grouped, strategy, packed):
    """Every length from 1 to 3 slices and 1, every amount of padding on either side, windows up to beyond the text."""
    whole = folded(Style(grouped=grouped, behind=behind, ahead=ahead, position="rotary"), strategy, packed=packed)
    given_batches = [batch_of(np.tri(n)[:, ::step], n) for n in range(1, 3 * SIZE + 2) for step in (1, -1)]
    got, slices = sliced(whole)
    assert slices.result.attentions >= 1 and not slices.result.whole
    for a, b in zip(run_on(whole, *given_batches), run_on(got, *given_batches), strict=True):
        assert_same_vectors(b, a)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(BANDS), st.integers(1, 5), st.lists(batches(), min_size=1, max_size=4))
def test_any_mask_any_slice(band, size, given_batches):
    whole = folded(Style(behind=band[0], ahead=band[1]), "mean", packed=False)
    got, _ = sliced(whole, size=size)
    for a, b in zip(run_on(whole, *given_batches), run_on(got, *given_batches), strict=True):
        assert_same_vectors(b, a)


@pytest.mark.parametrize("behind", [None, 0, 2, 7])
@pytest.mark.parametrize("strategy", ["mean", "lasttoken"])
def test_behind_a_prompt_the_keys_are_the_prompts_and_the_texts(behind, strategy):
    model, prompt_states = behind_prompt(Style(behind=behind, ahead=0, position="rotary", grouped=True), strategy, 5)
    got, slices = sliced(model)
    assert slices.result.attentions
    for n in range(1, 3 * SIZE + 2):
        batch = batch_of(np.tri(n), n) | {PROMPT_STATES: prompt_states}
        assert_same_vectors(run_on(got, batch)[0], run_on(model, batch)[0])


@pytest.mark.parametrize("attributes", [{"scale": 0.1}, {"softcap": 2.0}, {"scale": 1.0, "softcap": 0.5}], ids=str)
def test_scale_and_soft_cap_are_kept(attributes):
    whole = folded(Style(behind=4, ahead=4), "mean", packed=False)
    as_it_was = run_on(whole, batch_of(np.tri(7)))[0]
    for node in whole.graph:
        if node.op_type == "Attention":
            for name, number in attributes.items():
                node.attributes.add(ir.AttrFloat32(name, number))
    got, _ = sliced(whole)
    expected = run_on(whole, batch_of(np.tri(7)))[0]
    assert not np.allclose(expected, as_it_was, atol=1e-3)
    assert_same_vectors(run_on(got, batch_of(np.tri(7)))[0], expected)


def test_no_value_has_two_axes_of_the_length():
    """A row of 6000 tokens, whose scores alone would take 550 MiB, in a process that has run a short one."""
    whole = folded(Style(behind=None, ahead=0), "lasttoken", packed=False)
    got, _ = sliced(whole, whole_up_to=512, size=64)
    assert peak_growth(got) < 2**28 < 2**29 < peak_growth(whole)


def test_what_stays_whole_says_why():
    decomposed = folded(Style(attention="products"), "mean", packed=False)
    got, slices = sliced(decomposed)
    assert slices.result.attentions == 0
    assert slices.result.describe() == "attentions in slices of queries: 0; 2 whole: it is not the operator Attention"
    assert summarise(got).nodes == summarise(decomposed).nodes


def test_each_attention_counts_once():
    whole = folded(Style(), "mean", packed=False)
    got, _ = sliced(whole)
    assert summarise(got).attention_layers == summarise(whole).attention_layers == 2


def test_a_second_application_changes_nothing():
    got, _ = sliced(folded(Style(), "mean", packed=False))
    assert not SlicedAttentionPass(2, SIZE)(got).modified
