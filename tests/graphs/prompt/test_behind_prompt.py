from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.encoder.cleanup import cleanup
from graphs.encoder.grouped_heads import GroupedHeadsPass
from graphs.ir.names import PROMPT_STATES
from graphs.prompt.behind_prompt import BehindPromptPass, states_of, why_not
from graphs.unpadding.padding_free import PaddingFreePass
from tests.graphs.build import session
from tests.graphs.encoders import (
    LONGEST,
    VOCABULARY,
    Style,
    assert_same_vectors,
    batch_of,
    canonical,
    encoder,
    pooled,
    run_on,
    styles,
)

CAUSAL = Style("pre", "gated", position="rotary", grouped=True, ahead=0)
NUMBERS = np.random.default_rng(7).integers(0, VOCABULARY, 64)
PROMPT, TEXT = NUMBERS[:5], NUMBERS[5:11]


def grouped(style: Style) -> ir.Model:
    model = canonical(encoder(style))
    GroupedHeadsPass()(model)
    cleanup(model)
    return model


def behind(model: ir.Model) -> ir.Model:
    model = model.clone()
    assert BehindPromptPass()(model).modified
    cleanup(model)
    return model


def states(model: ir.Model, prompt: np.ndarray) -> np.ndarray:
    """float32 [2 * attentions, heads, prompt, head], of the encoder run on the prompt alone."""
    model = model.clone()
    model.graph.outputs[:] = states_of(model)
    batch = {"input_ids": prompt[None], "attention_mask": np.ones((1, len(prompt)), np.int64)}
    return np.concatenate(session(model).run(None, batch))


def rows(*texts: np.ndarray, side: str = "right") -> dict[str, np.ndarray]:
    seq = max(map(len, texts))
    mask = np.array([np.arange(seq) < len(text) for text in texts]).astype(np.int64)
    mask = mask if side == "right" else mask[:, ::-1]
    batch = batch_of(mask)
    batch["input_ids"][mask == 1] = np.concatenate(texts)
    return batch


def run_behind(model: ir.Model, batch: dict[str, np.ndarray], prompt_states: np.ndarray) -> np.ndarray:
    return run_on(model, batch | {PROMPT_STATES: prompt_states})[0]


@settings(deadline=None, max_examples=40)
@given(
    styles.filter(lambda s: s.attention == "operator" and not s.position.startswith("bias")),
    st.integers(1, 6),
    st.lists(st.integers(1, 6), min_size=1, max_size=4),
)
def test_a_text_behind_the_states_of_a_prompt_gets_the_rows_of_the_whole_run(style: Style, tokens: int, lengths):
    model = grouped(replace(style, ahead=0))
    prompt = NUMBERS[:tokens]
    texts = [NUMBERS[10 * i : 10 * i + n] for i, n in enumerate(lengths)]
    batch = rows(*texts)
    got = run_behind(behind(model), batch, states(model, prompt))
    for row, text in zip(got, texts, strict=True):
        (whole,) = run_on(model, rows(np.concatenate([prompt, text])))
        assert_same_vectors(row[: len(text)], whole[0, tokens:])


@pytest.mark.parametrize("strategy", ["lasttoken", "mean"])
def test_without_a_prompt_nothing_changes_in_any_layout(strategy: str):
    model = grouped(CAUSAL)
    none = states(model, PROMPT)[:, :, :0]
    after = pooled(behind(model), strategy)
    batches = [rows(TEXT), rows(TEXT, PROMPT), rows(TEXT, PROMPT, side="left"), batch_of(np.tri(LONGEST))]
    for batch, before in zip(batches, run_on(pooled(model, strategy), *batches), strict=True):
        assert_same_vectors(run_behind(after, batch, none), before)


def test_the_padding_free_form_computes_the_same_behind_a_prompt():
    model = grouped(replace(CAUSAL, behind=3))
    plain = pooled(behind(model), "mean")
    free, packing = plain.clone(), PaddingFreePass()
    assert packing(free).modified
    cleanup(free)
    batch, given_states = rows(TEXT, PROMPT, TEXT[:1]), states(model, PROMPT)
    assert_same_vectors(run_behind(free, batch, given_states), run_behind(plain, batch, given_states))


def test_what_may_not_differ_shows():
    """Controls: another prompt, padding between prompt and text, a position off, a model that sees what follows."""
    model = grouped(CAUSAL)
    after, right = behind(model), states(model, PROMPT)
    (whole,) = run_on(model, rows(np.concatenate([PROMPT, TEXT])))
    expected = whole[0, len(PROMPT) :]

    def distance(got: np.ndarray) -> float:
        return float(np.abs(got - expected).max())

    longer = rows(TEXT, NUMBERS[20:30], side="left")
    assert distance(run_behind(after, rows(TEXT), right)[0]) < 1e-5
    assert distance(run_behind(after, rows(TEXT), states(model, PROMPT[::-1]))[0]) > 1e-2
    assert distance(run_behind(after, rows(TEXT), right[:, :, :-1])[0]) > 1e-2
    assert distance(run_behind(after, longer, right)[0][-len(TEXT) :]) > 1e-2
    sees = grouped(replace(CAUSAL, ahead=None))
    (both,) = run_on(sees, rows(np.concatenate([PROMPT, TEXT])))
    assert np.abs(run_behind(behind(sees), rows(TEXT), states(sees, PROMPT))[0] - both[0, len(PROMPT) :]).max() > 1e-2


@pytest.mark.parametrize(
    ("style", "reason"),
    [
        (replace(CAUSAL, attention="products"), "not the operator Attention"),
        (replace(CAUSAL, position="bias"), "not a canonical one"),
    ],
)
def test_an_encoder_that_does_not_qualify_is_refused(style: Style, reason: str):
    model = grouped(style)
    assert reason in (why_not(model.graph) or "")
    with pytest.raises(ir.passes.PreconditionError, match=reason):
        BehindPromptPass()(model)
