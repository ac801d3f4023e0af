"""What texts tell of a model's channels, and what int8 costs it: against the same by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from exporter.parity.corpus import corpus
from exporter.parity.tokens import Tokens
from exporter.quantization.calibrate import calibrate
from exporter.quantization.texts import _corpus
from exporter.quantization.trial import Trials
from graphs.files.weights import save_graphs
from graphs.pooling.strategy import parse_strategy
from graphs.quantization.numbers import FP8, INT8, Number, smoothing_factors
from graphs.quantization.quantized import Quantization
from poolfold.sessions.targets import Rounding
from tests.graphs.build import FLOAT, INT64, GraphBuilder
from tests.graphs.quantization.layers import columns_by_hand, rows_by_hand

VOCAB, CHANNELS = 20, 32
ROWS = ((3, 4, 5), (6,), (7, 8, 9, 10))


def table() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(VOCAB, CHANNELS)) * np.exp(rng.normal(size=CHANNELS))).astype(np.float32)


def weight(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(CHANNELS, CHANNELS)).astype(np.float32)


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """Token vectors: relu(table[ids] @ up) @ down."""
    build = GraphBuilder()
    ids, _ = (build.input(name, INT64, "batch", "seq") for name in ("input_ids", "attention_mask"))
    looked_up = build.op("Gather", build.constant("table", table()), ids)
    up = build.op("Relu", build.op("MatMul", looked_up, build.constant("up", weight(1))))
    down = build.op("MatMul", up, build.constant("down", weight(2)), name="last_hidden_state")
    model = build.model(down)
    for node in model.graph:
        node.outputs[0].type, node.outputs[0].shape = ir.TensorType(FLOAT), ir.Shape(["batch", "seq", CHANNELS])
    save_graphs({tmp_path / "encoder.onnx": model}, tmp_path / "encoder.bin")
    return tmp_path / "encoder.onnx"


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(tuple(map(str, ROWS)), ROWS, (0,) * len(ROWS), 0, "right", 8, VOCAB)


def test_factors_come_from_the_extremes_of_all_texts(encoder: Path, tokens: Tokens) -> None:
    calibration = calibrate(encoder, tokens, 1, lambda *_: None)
    found, static, fp8 = calibration.dynamic(), calibration.static(INT8), calibration.static(FP8)
    seen = table()[[token for row in ROWS for token in row]]
    for name, values in (("up", seen), ("down", np.maximum(seen @ weight(1), 0))):
        largest = np.abs(weight({"up": 1, "down": 2}[name])).max(axis=1)
        np.testing.assert_allclose(
            found.smoothing[name], smoothing_factors(np.abs(values).max(axis=0), largest, 0.5), rtol=1e-4
        )
        factors = smoothing_factors(np.abs(values).max(axis=0), largest, 0.7)
        np.testing.assert_allclose(static.smoothing[name], factors, rtol=1e-4)
        assert static.largest[name] == pytest.approx(float(np.abs(values / factors).max()), rel=1e-4)
        assert fp8.largest[name] == pytest.approx(float(np.abs(values).max()), rel=1e-4)
    assert found.one_sided == {"down"}, "what a ReLU gives lies on one side"
    assert (static.number, fp8.number, fp8.smoothing) == (INT8, FP8, {})
    assert {path.name for path in encoder.parent.iterdir()} == {"encoder.onnx", "encoder.bin"}


def test_a_trial_costs_what_it_costs_by_hand(encoder: Path, tokens: Tokens) -> None:
    mean, cls = (parse_strategy(name) for name in ("mean", "cls"))
    trials = Trials(encoder, tokens, (mean, cls), (), 1)

    def worst(*kept: str) -> float:
        return trials.worst(Quantization(one_sided={"down"}, kept=kept), Rounding.ROWS)

    assert worst("up", "down") == pytest.approx(1, abs=1e-9)
    cosines = []
    for row in ROWS:
        x = table()[list(row)]
        exact = np.maximum(x @ weight(1), 0) @ weight(2)
        up = np.maximum(rows_by_hand(x).values @ columns_by_hand(weight(1)), 0).astype(np.float32)
        rounded = rows_by_hand(up, one_sided=True).values @ columns_by_hand(weight(2))
        for one, other in ((exact.mean(0), rounded.mean(0)), (exact[0], rounded[0])):
            cosines.append(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    both = worst()
    assert both == pytest.approx(min(cosines), abs=1e-5)
    assert both < worst("up") < 1
    assert {path.name for path in encoder.parent.iterdir()} == {"encoder.onnx", "encoder.bin"}


@pytest.mark.parametrize("number", [INT8, FP8])
def test_a_trial_with_scales_of_the_graph_costs_what_it_costs_by_hand(
    encoder: Path, tokens: Tokens, number: Number
) -> None:
    trials = Trials(encoder, tokens, (parse_strategy("mean"),), (), 1)
    largest = {"up": float(np.abs(table()).max()), "down": 1.1 * float(np.abs(table() @ weight(1)).max())}
    quantization = Quantization(largest=largest, number=number)
    cosines = []
    for row in ROWS:
        x = table()[list(row)]
        exact = np.maximum(x @ weight(1), 0) @ weight(2)
        up = np.maximum(rounded(number, x, largest["up"]) @ rounded(number, weight(1)), 0)
        mean = (rounded(number, up, largest["down"]) @ rounded(number, weight(2))).mean(0)
        cosines.append(exact.mean(0) @ mean / np.linalg.norm(exact.mean(0)) / np.linalg.norm(mean))
    assert trials.worst(quantization, Rounding.STATIC) == pytest.approx(min(cosines), abs=1e-4)
    assert min(cosines) < 0.9999


def rounded(number: Number, values: np.ndarray, largest: float | None = None) -> np.ndarray:
    """In 8 bits and back: by one scale, or by one a column."""
    scale = number.scales(np.abs(values).max(axis=0) if largest is None else largest)
    return number.nearest((values / scale).astype(np.float32)).astype(np.float64) * scale


def test_the_corpus_that_makes_int8_judges_nothing() -> None:
    texts = _corpus()
    assert len(texts) == len(set(texts)) >= 60
    assert not set(texts) & set(corpus(8192))
