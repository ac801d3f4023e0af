"""The extremes of each channel that linear layers read, on texts, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from exporter.model.encoder_session import open_encoder
from exporter.parity.tokens import Tokens, make_batch
from graphs.files.weights import load_graph
from graphs.ir.names import ATTENTION_MASK, INPUT_IDS
from graphs.quantization.channel_ranges import ProbeChannelsPass
from graphs.quantization.numbers import FP8, INT8, Floats, Number, smoothing_factors
from graphs.quantization.quantized import Quantization

_ALPHA = 0.5
"""Where a row or a group has its own scale. Measured on MiniLM, worst of 84 texts, without smoothing and with .4, .5,
.6: .981, .987, .994, .994 with rows, and .990, .997, .997, .996 in groups of channels."""
_STATIC_ALPHAS: Mapping[Number, float | None] = {INT8: 0.7, FP8: None}
"""Where all inputs of a layer share one scale. The same, without and with .5, .6, .7, .8: .940, .767, .912, .981, .979
in int8, and .992, .990, .990, .991, .987 in fp8, whose steps are as fine for small values as for large ones."""
_ONE_SIDED = 0.75
"""Of the width of a symmetric range: below it, a range of its own is worth an addition. Behind a GELU it is half."""

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Calibration:
    """What texts told of a model: of the input of each weight, by the weight's name.

    channels: highest and lowest value of each channel, float32 [2, channels].
    rows: the largest magnitude of each row of the weight, and of those that read the same input, float32 [channels].
    """

    channels: Mapping[str, Floats]
    rows: Mapping[str, Floats]

    def dynamic(self) -> Quantization:
        """For inputs whose scales are found as they come."""
        smoothing = self._smoothing(_ALPHA)
        smooth = {name: both / smoothing[name] for name, both in self.channels.items()}
        one_sided = frozenset(name for name, both in smooth.items() if _share_of_symmetric(both) < _ONE_SIDED)
        return Quantization(smoothing, one_sided)

    def static(self, number: Number) -> Quantization:
        """For inputs that have one scale, found here."""
        alpha = _STATIC_ALPHAS[number]
        smoothing = {} if alpha is None else self._smoothing(alpha)
        largest = {name: float(np.abs(both / smoothing.get(name, 1)).max()) for name, both in self.channels.items()}
        return Quantization(smoothing, largest=largest, number=number)

    def _smoothing(self, alpha: float) -> dict[str, Floats]:
        """By what the rows of each weight are multiplied, float32 [channels]."""
        extremes = self.channels.items()
        return {name: smoothing_factors(np.abs(both).max(axis=0), self.rows[name], alpha) for name, both in extremes}


def calibrate(encoder: Path, tokens: Tokens, threads: int | None, progress: Progress) -> Calibration:
    """Run the texts, each alone, so that no padding counts.

    Args:
        encoder: a clean fp32 graph; the probed one is written beside it, and reads the same weights file.
        tokens: the texts.
        threads: of the session; None for `default_threads`.
        progress: called with (done, in all, what is done).
    """
    probed = load_graph(encoder)
    probe = ProbeChannelsPass()
    probe(probed)
    path = encoder.with_name("channels.onnx")
    ir.save(probed, path)
    session = open_encoder(path, threads)
    names = list(probe.channels)
    extremes: list[Floats] = []
    for row in range(len(tokens.rows)):
        progress(row, len(tokens.rows), "calibrate")
        batch = make_batch(tokens, [row])
        feed = {INPUT_IDS: batch.input_ids, ATTENTION_MASK: np.minimum(batch.attention_mask, 1)}
        found: list[Floats] = session.run(names, feed) if names else []
        extremes = [_wider(*pair) for pair in zip(extremes, found, strict=True)] if extremes else found
    path.unlink()
    weights = {value.name: value.const_value for value in load_graph(encoder).graph.initializers.values()}
    channels: dict[str, Floats] = {}
    rows: dict[str, Floats] = {}
    for name, both in zip(names, extremes, strict=True):
        of_group = probe.channels[name]
        tensors = [tensor for weight in of_group if (tensor := weights[weight]) is not None]
        largest = np.max([np.abs(tensor.numpy()).max(axis=1) for tensor in tensors], axis=0)
        channels |= dict.fromkeys(of_group, both)
        rows |= dict.fromkeys(of_group, largest)
    return Calibration(channels, rows)


def _wider(one: Floats, other: Floats) -> Floats:
    """The extremes of both, [2, channels]: highest and lowest."""
    return np.stack([np.maximum(one[0], other[0]), np.minimum(one[1], other[1])])


def _share_of_symmetric(extremes: Floats) -> float:
    """How wide the range of all channels is, over one that reaches as far on both sides of 0."""
    high, low = float(extremes[0].max()), float(extremes[1].min())
    return (high - low) / max(2 * max(high, -low), 1e-30)
