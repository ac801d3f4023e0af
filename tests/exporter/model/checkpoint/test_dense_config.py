from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from exporter.model.checkpoint.dense_config import read_dense
from graphs.pooling.head import Activation
from poolfold.errors import CheckpointError
from tests.architectures import HIDDEN
from tests.models import DenseLayer, edit_json, tiny_checkpoint


@pytest.fixture
def folder(tmp_path):
    return tiny_checkpoint(tmp_path / "m", dense=(DenseLayer(8, residual=True),)) / "2_Dense"


def test_weights_come_as_they_are_stored(folder):
    dense = read_dense(folder, HIDDEN)
    weights = load_file(folder / "model.safetensors")
    np.testing.assert_array_equal(dense.weight, weights["linear.weight"])
    np.testing.assert_array_equal(dense.bias, weights["linear.bias"])
    np.testing.assert_array_equal(dense.residual, weights["residual.weight"])
    assert dense.activation is Activation.TANH


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_other_precision_become_fp32(folder, dtype):
    weights = {name: tensor.to(dtype) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors")
    dense = read_dense(folder, HIDDEN)
    assert dense.weight.dtype == np.float32
    np.testing.assert_array_equal(dense.weight, weights["linear.weight"].float())


def test_pickled_weights_by_flag_only(folder):
    expected = read_dense(folder, HIDDEN)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="--allow-pickle"):
        read_dense(folder, HIDDEN)
    np.testing.assert_array_equal(read_dense(folder, HIDDEN, allow_pickle=True).weight, expected.weight)


@pytest.mark.parametrize(
    ("path", "activation"),
    [
        ("torch.nn.modules.activation.SiLU", "Silu"),
        ("torch.nn.ReLU", "Relu"),
        ("torch.nn.modules.linear.Identity", "Identity"),
        ("torch.nn.modules.activation.GELU", "Gelu"),
        (..., "Tanh"),
    ],
)
def test_activations_by_class_path(folder, path, activation):
    edit_json(folder / "config.json", activation_function=path)
    assert read_dense(folder, HIDDEN).activation == activation


@pytest.mark.parametrize(
    "path",
    [
        "torch.nn.modules.activation.Softmax",
        "torch.nn.modules.activation.tanh",
        "my_code.GELU",
        "os.system",
        "Tanh",
        None,
        3,
    ],
)
def test_any_other_activation_is_named_and_refused(folder, path):
    edit_json(folder / "config.json", activation_function=path)
    with pytest.raises(CheckpointError) as error:
        read_dense(folder, HIDDEN)
    assert repr(path) in str(error.value)
    assert "Identity, Tanh, Sigmoid, ReLU, GELU, SiLU" in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"module_input_name": "token_embeddings"}, "reads 'token_embeddings'"),
        ({"module_output_name": "colbert"}, "writes 'colbert'"),
        ({"in_features": 31}, "in_features 31; the module before it gives 32"),
        ({"in_features": ...}, "in_features None"),
        ({"out_features": 9}, "its config.json asks for"),
        ({"bias": False}, "its config.json asks for"),
        ({"use_residual": False}, "its config.json asks for"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(folder, changes, message):
    edit_json(folder / "config.json", **changes)
    with pytest.raises(CheckpointError, match=message):
        read_dense(folder, HIDDEN)


def test_weights_that_do_not_fit_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["linear.bias"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"asks for linear\.bias \[8\], linear\.weight \[8, 32\]"):
        read_dense(folder, HIDDEN)


def test_a_nan_is_refused(folder):
    weights = load_file(folder / "model.safetensors")
    weights["linear.bias"][3] = torch.nan
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"'linear\.bias' has 1 of 8 values that are NaN"):
        read_dense(folder, HIDDEN)


def test_quantised_weights_are_refused(folder):
    weights = load_file(folder / "model.safetensors") | {"linear.bias": torch.zeros(8, dtype=torch.int8)}
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"'linear\.bias' is I8; expected one of F64, F32, F16, BF16"):
        read_dense(folder, HIDDEN)


def test_a_truncated_file_is_named(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CheckpointError, match=r"2_Dense/model\.safetensors is truncated or corrupt"):
        read_dense(folder, HIDDEN)
