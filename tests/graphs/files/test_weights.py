import numpy as np
import onnx_ir as ir
import pytest

from graphs.encoder.cleanup import cleanup
from graphs.files.weights import load_graph, save_graphs
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.strategy import PoolingMode, pool
from graphs.precision.float16 import ConvertToFloat16Pass
from graphs.precision.rehearsal import RehearseFloat16Pass
from tests.graphs.build import FLOAT, GraphBuilder, run, to_bytes


def linear(weight, bias=(1.0,)):
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", len(weight))
    product = build.op("MatMul", x, build.constant("weight", weight))
    return build.model(build.op("Add", product, build.constant("bias", bias)))


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def external(path):
    return {
        n: v.const_value
        for n, v in load_graph(path).graph.initializers.items()
        if isinstance(v.const_value, ir.ExternalTensor)
    }


def test_strategies_share_one_copy_of_the_weights_and_run(tiny_bert, tmp_path):
    encoder = tiny_bert.model()
    cleanup(encoder)
    graphs = {}
    for mode in PoolingMode:
        graph = encoder.clone()
        FoldPoolingPass((mode,))(graph)
        cleanup(graph)
        graphs[tmp_path / f"{mode}.onnx"] = graph
    weights = tmp_path / "fp32.weights"
    assert save_graphs(graphs, weights) == weights
    sizes = [v.const_value.nbytes for v in encoder.graph.initializers.values() if v.const_value.nbytes > 1024]
    assert sum(sizes) <= weights.stat().st_size <= sum(sizes) + 4096 * len(sizes)
    assert len({tuple(sorted((n, t.offset) for n, t in external(path).items())) for path in graphs}) == 1
    for mode in PoolingMode:
        expected = pool(tiny_bert.hidden, tiny_bert.attention_mask, (mode,))
        np.testing.assert_allclose(
            run(str(tmp_path / f"{mode}.onnx"), tiny_bert.feeds)[0], expected, rtol=1e-3, atol=1e-5
        )


def test_an_fp16_graph_and_its_rehearsal_share_their_weights(tiny_bert, tmp_path):
    half = tiny_bert.model()
    cleanup(half)
    FoldPoolingPass((PoolingMode.MEAN,))(half)
    cleanup(half)
    ConvertToFloat16Pass({}, {})(half)
    rehearsal = half.clone()
    RehearseFloat16Pass()(rehearsal)
    save_graphs({tmp_path / "alone.onnx": half}, tmp_path / "alone.bin")
    save_graphs({tmp_path / "a.onnx": half, tmp_path / "b.onnx": rehearsal}, tmp_path / "both.bin")
    assert (tmp_path / "both.bin").read_bytes() == (tmp_path / "alone.bin").read_bytes()
    a, b = (run(str(tmp_path / f"{name}.onnx"), tiny_bert.feeds)[0] for name in "ab")
    np.testing.assert_allclose(a, b, atol=1e-2)


def test_equal_tensors_are_stored_once_and_unequal_ones_are_not(tmp_path):
    weight = random(32, 32)
    nearly = weight.copy()
    nearly[16, 16] += 1
    paths = [tmp_path / f"{i}.onnx" for i in range(3)]
    save_graphs(dict(zip(paths, (linear(weight), linear(weight.copy()), linear(nearly)), strict=True)), tmp_path / "w")
    offsets = [external(path)["weight"].offset for path in paths]
    assert offsets == [0, 0, 4096]
    assert (tmp_path / "w").stat().st_size == 4096 + weight.size * 4
    for path, expected in zip(paths, (weight, weight, nearly), strict=True):
        np.testing.assert_array_equal(external(path)["weight"].numpy(), expected.astype(np.float32))


@pytest.mark.parametrize(("size", "outside"), [(256, False), (257, True)])
def test_tensors_up_to_a_kibibyte_stay_in_the_graph(tmp_path, size, outside):
    saved = save_graphs({tmp_path / "g.onnx": linear(random(1, size))}, tmp_path / "w")
    assert (saved is not None) is outside
    assert (tmp_path / "w").exists() is outside
    assert set(external(tmp_path / "g.onnx")) == ({"weight"} if outside else set())


def test_offsets_are_aligned_to_pages(tmp_path):
    graph = linear(random(33, 33), random(33 * 9))
    save_graphs({tmp_path / "g.onnx": graph}, tmp_path / "w")
    tensors = external(tmp_path / "g.onnx")
    assert {name: tensor.offset for name, tensor in tensors.items()} == {"weight": 0, "bias": 8192}


def test_a_transposed_view_and_a_packed_dtype_are_written_as_they_read(tmp_path):
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", 40)
    view = random(30, 40).astype(np.float32).T
    build.constants.append(
        ir.Value(name="w", type=ir.TensorType(FLOAT), shape=ir.Shape([40, 30]), const_value=ir.tensor(view, name="w"))
    )
    model = build.model(build.op("MatMul", x, build.constants[0]))
    packed = ir.tensor((np.arange(4096) % 8).astype(np.int8), dtype=ir.DataType.INT4, name="packed")
    value = ir.Value(name="packed", type=ir.TensorType(packed.dtype), shape=ir.Shape([4096]), const_value=packed)
    model.graph.register_initializer(value)
    save_graphs({tmp_path / "g.onnx": model}, tmp_path / "w")
    tensors = external(tmp_path / "g.onnx")
    np.testing.assert_array_equal(tensors["w"].numpy(), view)
    assert tensors["packed"].length == 2048
    np.testing.assert_array_equal(tensors["packed"].numpy().astype(int), np.arange(4096) % 8)


def test_the_models_in_memory_are_not_touched(tmp_path):
    model = linear(random(32, 32))
    tensor, before = model.graph.initializers["weight"].const_value, to_bytes(model)
    save_graphs({tmp_path / "g.onnx": model}, tmp_path / "w")
    assert model.graph.initializers["weight"].const_value is tensor
    assert to_bytes(model) == before


def test_a_saved_graph_loads_as_it_was_and_can_be_saved_again(tmp_path):
    model = linear(random(32, 32))
    (tmp_path / "again").mkdir()
    save_graphs({tmp_path / "g.onnx": model}, tmp_path / "w")
    loaded = load_graph(tmp_path / "g.onnx")
    assert isinstance(loaded.graph.initializers["weight"].const_value, ir.ExternalTensor)
    save_graphs({tmp_path / "again" / "g.onnx": loaded}, tmp_path / "again" / "w")
    for name in ("g.onnx", "w"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_the_same_graphs_give_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save_graphs({tmp_path / folder / "g.onnx": linear(random(32, 32))}, tmp_path / folder / "w")
    for name in ("g.onnx", "w"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_weights_may_lie_below_the_graph_but_not_outside(tmp_path):
    model = linear(random(32, 32))
    save_graphs({tmp_path / "g.onnx": model}, tmp_path / "data" / "w")
    assert external(tmp_path / "g.onnx")["weight"].location == "data/w"
    assert np.isfinite(run(str(tmp_path / "g.onnx"), {"x": np.ones((1, 32), np.float32)})[0]).all()
    (tmp_path / "graphs").mkdir()
    with pytest.raises(ValueError, match="outside"):
        save_graphs({tmp_path / "graphs" / "g.onnx": model}, tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_file_that_is_there_is_never_written_over(tmp_path):
    (tmp_path / "w").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        save_graphs({tmp_path / "g.onnx": linear(random(32, 32))}, tmp_path / "w")
    assert (tmp_path / "w").read_bytes() == b"mine"
