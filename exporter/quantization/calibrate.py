"""The magnitude of each channel that linear layers read, on texts, and the factors that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from exporter.model.encoder_session import open_encoder
from exporter.parity.tokens import Tokens, make_batch
from graphs.files.weights import load_graph
from graphs.ir.names import ATTENTION_MASK, INPUT_IDS
from graphs.quantization.channel_ranges import ProbeChannelsPass
from graphs.quantization.int8 import smoothing_factors

_ALPHA = 0.5
"""Measured on MiniLM, worst of 84 texts, without smoothing and with .4, .5, .6: .981, .987, .994, .994 with rows, and
.990, .997, .997, .996 in groups of channels."""
_ONE_SIDED = 0.75
"""Of the width of a symmetric range: below it, a range of its own is worth an addition. Behind a GELU it is half."""

Floats = npt.NDArray[np.float32]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Calibration:
    """What texts told of a model.

    smoothing: name of a weight -> by what its rows are multiplied, float32 [channels].
    one_sided: names of weights whose inputs lie mostly on one side of 0.
    """

    smoothing: Mapping[str, Floats]
    one_sided: frozenset[str]


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
    smoothing: dict[str, Floats] = {}
    one_sided: set[str] = set()
    for name, (highest, lowest) in zip(names, extremes, strict=True):
        of_group = probe.channels[name]
        tensors = [tensor for weight in of_group if (tensor := weights[weight]) is not None]
        largest = np.max([np.abs(tensor.numpy()).max(axis=1) for tensor in tensors], axis=0)
        factors = smoothing_factors(np.maximum(highest, -lowest), largest, _ALPHA)
        smoothing |= dict.fromkeys(of_group, factors)
        if _share_of_symmetric(highest / factors, lowest / factors) < _ONE_SIDED:
            one_sided |= set(of_group)
    return Calibration(smoothing, frozenset(one_sided))


def _wider(one: Floats, other: Floats) -> Floats:
    """The extremes of both, [2, channels]: highest and lowest."""
    return np.stack([np.maximum(one[0], other[0]), np.minimum(one[1], other[1])])


def _share_of_symmetric(highest: Floats, lowest: Floats) -> float:
    """How wide the range of all channels is, over one that reaches as far on both sides of 0."""
    high, low = float(highest.max()), float(lowest.min())
    return (high - low) / max(2 * max(high, -low), 1e-30)
