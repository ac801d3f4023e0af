"""Tiny graphs with linear layers, their int8 by hand, and a session that multiplies int8 without overflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from poolfold.sessions.int8_products import CONFIG, exact_products
from tests.graphs.build import FLOAT, GraphBuilder, to_bytes

CHANNELS, COLUMNS = 256, 48


def inputs(seed: int = 0, *, one_sided: bool = False) -> np.ndarray:
    """Tokens [3, 5, CHANNELS]: of very different magnitudes, one of zeros, and a channel that is far larger."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(3, 5, CHANNELS)) * np.exp(rng.normal(size=(3, 5, 1)) * 2)
    x[..., 7] *= 30
    x[1, 2] = 0
    return np.maximum(x, -0.17 * one_sided if one_sided else -np.inf).astype(np.float32)


def weight(seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(CHANNELS, COLUMNS)) * np.exp(rng.normal(size=COLUMNS))).astype(np.float32)


def graph(*weights: np.ndarray) -> ir.Model:
    """x -> a product with each of the weights, w0, w1, ...; all read the same x."""
    build = GraphBuilder()
    x = build.input("x", FLOAT, "batch", "seq", CHANNELS)
    outputs = []
    for number, values in enumerate(weights):
        product = build.op("MatMul", x, build.constant(f"w{number}", values), name=f"y{number}")
        product.type, product.shape = ir.TensorType(FLOAT), ir.Shape(["batch", "seq", values.shape[1]])
        outputs.append(product)
    return build.model(*outputs)


def run(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry(CONFIG, exact_products())
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(to_bytes(model), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(feeds))


@dataclass(frozen=True)
class Rounded:
    """Rows as multiples of a scale, above a lowest value."""

    whole: np.ndarray
    scale: np.ndarray
    lowest: np.ndarray

    @property
    def values(self) -> np.ndarray:
        return self.whole * self.scale + self.lowest


def rows_by_hand(x: np.ndarray, *, one_sided: bool = False, axes: int | tuple[int, ...] = -1) -> Rounded:
    """Rows in 8 bits; `axes`: what shares a scale, a row by default."""
    tiny = np.float32(1e-12)
    high, low = x.max(axis=axes, keepdims=True), x.min(axis=axes, keepdims=True)
    if one_sided:
        high, low = np.maximum(high, 0), np.minimum(low, 0)
        scale = np.maximum(high - low, tiny) * np.float32(1 / 255)
        steps = np.rint(low / scale)
        return Rounded((np.rint(x / scale) - steps).clip(0, 255).astype(np.float64), scale, steps * scale)
    scale = np.maximum(np.maximum(high, -low), tiny) * np.float32(1 / 127)
    return Rounded(np.rint(x * (np.float32(1) / scale)).clip(-128, 127).astype(np.float64), scale, np.zeros_like(low))


def columns_by_hand(w: np.ndarray) -> np.ndarray:
    """A weight in 8 bits and back, float64."""
    scale = np.maximum(np.abs(w).max(axis=0), 1e-10).astype(np.float32) / np.float32(127)
    return np.rint(w / scale).astype(np.float64) * scale


def close(got: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether each row is the same but for the order of sums in fp32: a step of 8 bits would be forty times as much."""
    largest = np.abs(wanted).max(axis=-1, keepdims=True)
    return bool((np.abs(got - wanted) <= 1e-4 * largest + 1e-12).all())
