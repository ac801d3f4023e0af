"""The reference against sentence-transformers itself, on the same folders and texts."""

from __future__ import annotations

import random
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from exporter.model.pytorch import Reference, apply_head, load_backbone, pool
from graphs.pooling import strategy as meaning
from graphs.pooling.head import Activation, Dense, Normalize
from graphs.pooling.strategy import PoolingMode
from poolfold.errors import CheckpointError, InputError
from tests.architectures import HIDDEN
from tests.exporter.model.reading import TEXTS, embed, spec_of, tokenise
from tests.models import DenseLayer, edit_json, tiny_checkpoint

pytestmark = pytest.mark.slow

MODES = tuple(PoolingMode)


def oracle(folder, texts=TEXTS, **options):
    return SentenceTransformer(str(folder), device="cpu").encode(list(texts), **options)


def assert_same(got, expected):
    assert got.shape == expected.shape
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("dialect", ["old", "new"])
@pytest.mark.parametrize("mode", MODES)
def test_each_mode_equals_sentence_transformers(tmp_path, mode, dialect):
    folder = tiny_checkpoint(tmp_path / "m", pooling=mode, dialect=dialect)
    assert_same(embed(folder), oracle(folder))


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert", "nomic_bert", "t5", "mt5", "qwen3"])
def test_each_architecture_and_both_dialects_give_one_answer(tmp_path, architecture):
    modes = ["cls", "mean", "lasttoken"]
    new = tiny_checkpoint(tmp_path / "new", architecture=architecture, pooling=modes)
    old = tiny_checkpoint(tmp_path / "old", architecture=architecture, pooling=modes, dialect="old")
    vectors = embed(new)
    assert_same(vectors, oracle(new))
    assert_same(vectors, oracle(old))
    np.testing.assert_array_equal(vectors, embed(old))


@pytest.mark.parametrize("modes", random.Random(0).sample([*permutations(MODES, 2), *permutations(MODES, 3)], 6))
def test_concatenations_keep_the_order_of_the_list(tmp_path, modes):
    folder = tiny_checkpoint(tmp_path / "m", pooling=modes, normalize=False)
    assert_same(embed(folder), oracle(folder))


@pytest.mark.parametrize("padding_side", ["left", "right"])
@pytest.mark.parametrize("architecture", ["bert", "t5", "qwen3", "mistral", "gemma3_text-bidirectional"])
def test_padding_on_either_side(tmp_path, architecture, padding_side):
    folder = tiny_checkpoint(tmp_path / "m", architecture=architecture, pooling=MODES, padding_side=padding_side)
    spec = spec_of(folder)
    assert spec.text.padding_side == padding_side
    _, mask = tokenise(spec, TEXTS)
    assert mask[1].argmin() == (0 if padding_side == "left" else mask[1].sum())
    assert_same(embed(folder), oracle(folder))


@pytest.mark.parametrize("activation", ["Identity", "Tanh", "Sigmoid", "ReLU", "GELU", "SiLU"])
def test_dense_layers_with_each_activation(tmp_path, activation):
    layers = (DenseLayer(48, activation=activation), DenseLayer(16, bias=False, activation=activation))
    folder = tiny_checkpoint(tmp_path / "m", dense=layers, normalize=False)
    assert_same(embed(folder), oracle(folder))


@pytest.mark.parametrize("width", [HIDDEN, 24])
def test_dense_residuals(tmp_path, width):
    folder = tiny_checkpoint(tmp_path / "m", dense=(DenseLayer(width, residual=True),))
    assert_same(embed(folder), oracle(folder))
    without = tiny_checkpoint(tmp_path / "without", dense=(DenseLayer(width),))
    assert np.abs(embed(folder) - embed(without)).max() > 1e-2


def test_prompts_lower_casing_truncation_and_truncate_dim(tmp_path):
    prompts = {"query": "query: ", "document": ""}
    folder = tiny_checkpoint(
        tmp_path / "m",
        prompts=prompts,
        do_lower_case=True,
        max_seq_length=9,
        truncate_dim=8,
        default_prompt_name="query",
    )
    expected = oracle(folder)
    assert_same(embed(folder, prompt="query: "), expected)
    assert_same(embed(folder), oracle(folder, prompt_name="document"))
    for change in ({"do_lower_case": False}, {"max_seq_length": 8}):
        other = tmp_path / next(iter(change))
        tiny_checkpoint(
            other, prompts=prompts, **({"do_lower_case": True, "max_seq_length": 9, "truncate_dim": 8} | change)
        )
        assert np.abs(embed(other, prompt="query: ") - expected).max() > 1e-3


def test_a_plain_row_is_the_same_alone_and_in_a_batch(tmp_path):
    folder = tiny_checkpoint(tmp_path / "m", pooling=MODES)
    together = embed(folder)
    for text, vector in zip(TEXTS, together, strict=True):
        assert_same(embed(folder, [text])[0], vector)


def test_another_pooling_is_seen(tmp_path):
    assert (
        np.abs(embed(tiny_checkpoint(tmp_path / "a")) - oracle(tiny_checkpoint(tmp_path / "b", pooling="cls"))).max()
        > 1e-2
    )


@settings(deadline=None, max_examples=60)
@given(data=st.data(), modes=st.lists(st.sampled_from(MODES), min_size=1, unique=True))
def test_pool_is_the_definition(data, modes):
    batch, seq, width = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 5)))
    rows = st.lists(st.integers(0, 2), min_size=seq, max_size=seq)
    mask = np.array(data.draw(st.lists(rows, min_size=batch, max_size=batch)), dtype=np.int64)
    hidden = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(batch, seq, width)).astype(np.float32)
    hidden[mask == 0] = np.nan
    got = pool(torch.from_numpy(hidden), torch.from_numpy(mask), tuple(modes)).numpy()
    np.testing.assert_allclose(got, meaning.pool(hidden, mask, tuple(modes)), rtol=1e-5, atol=1e-6)
    assert not got[(mask != 1).all(axis=1)].any()


def test_a_row_without_a_token_is_zeros_before_the_head(tmp_path):
    layer = DenseLayer(16)
    spec = spec_of(tiny_checkpoint(tmp_path / "m", dense=(layer,), normalize=False))
    reference = Reference(load_backbone(spec), spec.head)
    ids, mask = np.full((2, 3), 5), np.array([[0, 0, 0], [1, 1, 0]])
    for mode in MODES:
        vectors = reference.embed(ids, mask, [(mode,)])[(mode,)]
        np.testing.assert_allclose(vectors[0], np.tanh(spec.head[0].bias), atol=1e-6)
        assert np.isfinite(vectors).all()


def test_the_backbone_runs_once_for_all_strategies(tmp_path):
    spec = spec_of(tiny_checkpoint(tmp_path / "m"))
    backbone = load_backbone(spec)
    calls = []
    backbone.register_forward_hook(lambda *_: calls.append(1))
    strategies = [(mode,) for mode in MODES]
    vectors = Reference(backbone, spec.head).embed(*tokenise(spec, TEXTS), strategies)
    assert list(vectors) == strategies
    assert len(calls) == 1


def test_a_strategy_that_does_not_fit_the_dense_layer_is_refused():
    head = (Dense(np.ones((2, 4), np.float32), None, Activation.TANH), Normalize())
    assert apply_head(torch.ones(1, 4), head).shape == (1, 2)
    with pytest.raises(InputError, match="takes 4 values, and this strategy gives 8"):
        apply_head(torch.ones(1, 8), head)


def test_the_backbone_is_fp32_for_inference_without_pooler_and_silent(tmp_path, capfd):
    folder = tiny_checkpoint(tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    half = {name: tensor.bfloat16() for name, tensor in weights.items() if not name.startswith("pooler.")}
    save_file(half, folder / "model.safetensors", metadata={"format": "pt"})
    backbone = load_backbone(spec_of(folder))
    assert not backbone.training
    assert backbone.config._attn_implementation == "sdpa"
    names = dict(backbone.named_parameters())
    assert not any("pooler" in name for name in names)
    assert {(p.dtype, p.requires_grad) for p in names.values()} == {(torch.float32, False)}
    assert set(names) == set(half)
    for name, parameter in names.items():
        torch.testing.assert_close(parameter, half[name].float(), rtol=0, atol=0)
    assert capfd.readouterr() == ("", "")


def rewrite_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_missing_weights_are_named(tmp_path):
    folder = tiny_checkpoint(tmp_path / "m")
    rewrite_weights(folder, lambda weights: weights.pop("encoder.layer.1.output.dense.weight"))
    with pytest.raises(CheckpointError, match=r"lacks 1 weights of its bert, such as encoder\.layer\.1\.output\.dense"):
        load_backbone(spec_of(folder))


def test_misshapen_weights_are_refused(tmp_path):
    folder = tiny_checkpoint(tmp_path / "m")
    edit_json(folder / "config.json", intermediate_size=48)
    with pytest.raises(
        CheckpointError,
        match=r"has 6 weights of another shape .*intermediate\.dense\.bias: \[64\] instead of \[48\]",
    ):
        load_backbone(spec_of(folder))


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_weights_that_transformers_would_ignore_are_refused(tmp_path, prefix):
    folder = tiny_checkpoint(tmp_path / "m")

    def add(weights):
        for name in list(weights):
            weights[prefix + name] = weights.pop(name)
        weights[f"{prefix}encoder.layer.0.attention.self.distance_embedding.weight"] = torch.ones(9, 16)

    rewrite_weights(folder, add)
    with pytest.raises(CheckpointError, match=r"has 1 weights that the bert of transformers does not compute with"):
        load_backbone(spec_of(folder))


def test_weights_of_other_heads_further_layers_and_buffers_are_no_matter(tmp_path):
    folder = tiny_checkpoint(tmp_path / "m")
    expected = embed(folder)

    def add(weights):
        weights["cls.predictions.bias"] = torch.ones(9)
        weights["embeddings.position_ids"] = torch.arange(64)
        weights["encoder.layer.2.output.dense.bias"] = torch.ones(HIDDEN)

    rewrite_weights(folder, add)
    np.testing.assert_array_equal(embed(folder), expected)


def test_pickled_weights_by_flag_only(tmp_path):
    folder = tiny_checkpoint(tmp_path / "m")
    expected = embed(folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="--allow-pickle"):
        spec_of(folder)
    spec = spec_of(folder, allow_pickle=True)
    got = Reference(load_backbone(spec), spec.head).embed(*tokenise(spec, TEXTS), [spec.trained])[spec.trained]
    np.testing.assert_array_equal(got, expected)
