"""The reference of a file: ONNX Runtime on it as it is, with what its inputs mean; pooling and head by definition."""

import numpy as np
import onnx_ir as ir
import pytest

from exporter.model.onnx_file import GraphReference
from graphs.pooling.head import Normalize, Truncate
from graphs.pooling.strategy import PoolingMode, parse_strategy, pool
from poolfold.errors import CheckpointError
from tests.foreign import INT32, torchscript_encoder
from tests.graphs.build import INT64, run
from tests.models import HIDDEN

FOUR = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
IDS = np.array([[5, 6, 7, 8], [9, 10, 0, 0], [0, 0, 0, 11]])
MASK = (IDS > 0).astype(np.int64)
MEAN = parse_strategy("mean")


def saved(tmp_path, **options):
    model = torchscript_encoder(**options)
    ir.save(model, tmp_path / "model.onnx")
    return model, tmp_path / "model.onnx"


@pytest.mark.parametrize("dtype", [INT64, INT32])
def test_it_is_the_file_pooled_by_definition(dtype, tmp_path):
    model, path = saved(tmp_path, inputs=FOUR, dtype=dtype, outputs=("token_embeddings", "sentence_embedding"))
    numbers = np.int64 if dtype == INT64 else np.int32
    feeds = {"input_ids": IDS, "attention_mask": MASK, "token_type_ids": IDS * 0}
    feeds["position_ids"] = np.broadcast_to(np.arange(4), IDS.shape)
    hidden = run(model, {name: value.astype(numbers) for name, value in feeds.items()})[0]
    strategies = [(mode,) for mode in PoolingMode] + [parse_strategy("max+cls")]
    got = GraphReference(path, "token_embeddings", (), width=HIDDEN, threads=1).embed(IDS, MASK, strategies)
    assert list(got) == strategies
    for strategy in strategies:
        np.testing.assert_array_equal(got[strategy], pool(hidden, MASK, strategy))
    head = (Normalize(), Truncate(4))
    short = GraphReference(path, "token_embeddings", head, width=HIDDEN, threads=1).embed(IDS, MASK, [MEAN])[MEAN]
    unit = pool(hidden, MASK, MEAN) / np.linalg.norm(pool(hidden, MASK, MEAN), axis=1, keepdims=True)
    np.testing.assert_allclose(short, unit[:, :4], rtol=1e-6)


def test_a_file_that_onnx_runtime_cannot_load_is_refused(tmp_path):
    model, path = saved(tmp_path, layers=1)
    node = next(node for node in model.graph if node.op_type == "Softmax")
    node.op_type = "Riddle"
    ir.save(model, path)
    with pytest.raises(CheckpointError, match=r"cannot be loaded by onnxruntime .*Riddle"):
        GraphReference(path, "last_hidden_state", (), width=HIDDEN)


def test_a_graph_that_is_static_inside_is_refused(tmp_path):
    model, path = saved(tmp_path, layers=1)
    reshape = next(node for node in model.graph if node.op_type == "Reshape")
    sizes = ir.tensor(np.array([2, 4, 2, 16]), name="sizes")
    constant = ir.Value(name="sizes", type=ir.TensorType(INT64), shape=ir.Shape([4]), const_value=sizes)
    model.graph.register_initializer(constant)
    reshape.replace_input_with(1, constant)
    ir.save(model, path)
    reference = GraphReference(path, "last_hidden_state", (), width=HIDDEN)
    reference.embed(IDS[:2], MASK[:2], [MEAN])
    with pytest.raises(CheckpointError, match=r"fails in onnxruntime .* on ids \[3, 4\].*dynamic batch and sequence"):
        reference.embed(IDS, MASK, [MEAN])


def test_vectors_of_another_width_are_refused(tmp_path):
    _, path = saved(tmp_path, layers=1, width="unknown")
    reference = GraphReference(path, "last_hidden_state", (), width=64)
    with pytest.raises(CheckpointError, match=r"gives last_hidden_state \[3, 4, 32\].*expected \[3, 4, 64\]"):
        reference.embed(IDS, MASK, [MEAN])
