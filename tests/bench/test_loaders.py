import numpy as np
import pytest
import torch

from bench import beside_graphs, load_pytorch, load_sentence_transformers
from bench.beside_graphs import load_pytorch as load_product
from bench.beside_graphs import product, weights, write_graph
from bench.load_onnxruntime import load_product as load_onnxruntime_product
from graphs.pooling.strategy import parse_strategy
from graphs.pooling.strategy import pool as exact_pool
from tests.models import HIDDEN, tiny_checkpoint

LENGTHS = np.array([5, 1, 3])
MASK = (np.arange(5) < LENGTHS[:, None]).astype(np.int64)
IDS = np.where(MASK == 1, np.arange(5, 20).reshape(3, 5), 0)


@pytest.mark.parametrize("strategy", ["cls", "mean"])
def test_numpy_pooling_is_the_strategy_scaled_to_unit_length(strategy):
    hidden = np.random.default_rng(0).standard_normal((3, 5, 8), dtype=np.float32)
    vectors = beside_graphs.POOLS[strategy](hidden, MASK)
    exact = exact_pool(hidden, MASK, parse_strategy(strategy))
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, exact / np.linalg.norm(exact, axis=1, keepdims=True), atol=1e-6)


def test_both_pytorch_peers_give_the_same_vectors(tmp_path):
    folder = tiny_checkpoint(tmp_path / "tiny")
    threads = torch.get_num_threads()
    eager = load_pytorch.load(str(folder), [], threads)
    library = load_sentence_transformers.load(str(folder), threads)
    for strategy in ("cls", "mean"):
        vectors = [peer.pools[strategy](peer.forward(IDS, MASK), MASK) for peer in (eager, library)]
        assert vectors[0].shape == (3, HIDDEN)
        np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert np.abs(vectors[0][0] - vectors[0][2]).max() > 1e-2, "the premise needs rows that differ"


def test_the_product_is_the_same_in_every_runtime(tmp_path):
    write_graph(tmp_path / "product.onnx", 8, 16)
    up, down = weights(8, 16)
    exact = product(8, lambda rows: rows @ up @ down)(IDS, MASK)
    threads = torch.get_num_threads()
    assert exact.shape == (3, 8)
    for found in (load_product(8, 16, threads), load_onnxruntime_product(str(tmp_path / "product.onnx"), 8, threads)):
        np.testing.assert_allclose(found(IDS, MASK), exact, atol=1e-5)


def test_the_product_has_a_row_for_each_token_padding_included():
    seen = []
    product(8, lambda rows: seen.append(rows.shape) or rows)(IDS, MASK)
    assert seen == [(15, 8)]


def test_the_product_in_openvino(tmp_path):
    from bench import load_openvino

    write_graph(tmp_path / "product.onnx", 8, 16)
    up, down = weights(8, 16)
    exact = product(8, lambda rows: rows @ up @ down)(IDS, MASK)
    found = load_openvino.load_product(str(tmp_path / "product.onnx"), 8, "f32", 1)(IDS, MASK)
    np.testing.assert_allclose(found, exact, atol=1e-5)
