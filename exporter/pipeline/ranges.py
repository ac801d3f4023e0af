"""How far each tensor of an encoder goes on real text: the facts that decide where fp16 holds.

Runs the fp32 graph, with the largest magnitude of every tensor as an extra output, on the corpus and the user's texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort

from exporter.model.encoder_session import open_encoder
from exporter.parity.tokens import Batch
from graphs.files.weights import load_graph
from graphs.ir.names import ATTENTION_MASK, INPUT_IDS
from graphs.precision.ranges import ProbeRangesPass
from poolfold.errors import CheckpointError, first_line

FP16_MAX = 65504.0


@dataclass(frozen=True)
class Ranges:
    """largest: tensor name -> its largest magnitude, over all texts; text: tensor name -> the text that gave it."""

    largest: dict[str, float]
    text: dict[str, int]

    def outcome(self, texts: Sequence[str]) -> str:
        """The tensor that goes furthest, and the text on which it does, in a line."""
        name = max(self.largest, key=lambda n: self.largest[n])
        share = self.largest[name] / FP16_MAX
        return (
            f"{len(self.largest)} tensors; {name} goes furthest, to {self.largest[name]:.4g}, "
            f"{share:.1%} of fp16's largest number, on {texts[self.text[name]][:40]!r}"
        )

    def by_size(self, texts: Sequence[str]) -> list[dict[str, str | float]]:
        """Every tensor with its largest magnitude and the beginning of the text that gave it, the largest first."""
        names = sorted(self.largest, key=lambda n: -self.largest[n])
        # JSON has no infinity.
        return [{"tensor": n, "largest": min(self.largest[n], 1e300), "text": texts[self.text[n]][:80]} for n in names]


def measure_ranges(encoder: Path, batches: Sequence[Batch], threads: int | None) -> Ranges:
    """Probe the encoder.

    Args:
        encoder: a clean fp32 graph; the probed one is written beside it, and reads the same weights file.
        batches: what to run it on.
        threads: of the session; None for `default_threads`.

    Raises:
        CheckpointError: ONNX Runtime loaded the encoder and cannot compute it.
    """
    probed = load_graph(encoder)
    probe = ProbeRangesPass()
    probe(probed)
    path = encoder.with_name("probe.onnx")
    ir.save(probed, path)
    session = open_encoder(path, threads)
    largest = np.full(len(probe.tensors), -1.0)
    text = np.zeros(len(probe.tensors), dtype=np.int64)
    for input_ids, attention_mask, rows in batches:
        feed = {INPUT_IDS: input_ids, ATTENTION_MASK: np.minimum(attention_mask, 1)}
        try:
            (magnitudes,) = session.run(["tensor_ranges"], feed)
        except Exception as error:  # its errors have no base class of their own
            raise CheckpointError(
                f"onnxruntime {ort.__version__} cannot run the encoder on input_ids {list(input_ids.shape)}: "
                f"{first_line(error)}. This architecture is not supported by this release."
            ) from error
        # A NaN means that fp32 itself fails there: as bad as it gets.
        magnitudes = np.nan_to_num(magnitudes, nan=np.inf)
        best = magnitudes.argmax(axis=1)
        values = magnitudes[np.arange(len(magnitudes)), best]
        text = np.where(values > largest, np.asarray(rows)[best], text)
        largest = np.maximum(largest, values)
    names = list(probe.tensors)
    return Ranges(
        dict(zip(names, largest.tolist(), strict=True)), {n: int(t) for n, t in zip(names, text, strict=True)}
    )
