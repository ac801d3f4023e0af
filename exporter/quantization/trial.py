"""The vectors of an encoder in 8 bits with some layers in fp32, beside those in fp32: what a choice of layers costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from exporter.model.encoder_session import open_encoder
from exporter.parity.compare import cosines
from exporter.parity.tokens import Tokens, make_batch
from graphs.files.weights import load_graph, save_graphs
from graphs.ir.names import ATTENTION_MASK, INPUT_IDS, LAST_HIDDEN_STATE
from graphs.pooling.head import Head, apply_head
from graphs.pooling.strategy import Strategy, pool
from graphs.quantization.quantize_rows import QuantizeRowsPass
from graphs.quantization.quantize_static import QuantizeStaticPass
from graphs.quantization.quantize_tables import QuantizeTablesPass
from graphs.quantization.quantized import Quantization
from poolfold.sessions.targets import Rounding

Vectors = Mapping[Strategy, npt.NDArray[np.float32]]


class Trials:
    """Trials of one encoder on the same texts, each alone."""

    def __init__(
        self,
        encoder: Path,
        tokens: Tokens,
        strategies: Sequence[Strategy],
        head: Head,
        threads: int | None,
    ) -> None:
        """Compute the vectors in fp32.

        Args:
            encoder: a clean fp32 graph; trials are written beside it, and removed.
            tokens: the texts.
            strategies: what to pool.
            head: the modules behind the pooling.
            threads: of a session; None for `default_threads`.
        """
        self._encoder = encoder
        self._tokens = tokens
        self._strategies = strategies
        self._head = head
        self._threads = threads
        self._wanted = self._vectors(open_encoder(encoder, threads))

    def worst(self, quantization: Quantization, rounding: Rounding) -> float:
        """The smallest cosine of any text and strategy.

        Args:
            quantization: of the weights, with what stays fp32.
            rounding: of what they are multiplied by; groups count as rows, which are coarser.
        """
        model = load_graph(self._encoder)
        static = rounding is Rounding.STATIC
        passes = (QuantizeStaticPass,) if static else (QuantizeTablesPass, QuantizeRowsPass)
        for quantize in passes:
            quantize(quantization)(model)
        path, weights = self._encoder.with_name("trial.onnx"), self._encoder.with_name("trial.bin")
        try:
            save_graphs({path: model}, weights)
            del model
            got = self._vectors(open_encoder(path, self._threads))
        finally:
            path.unlink(missing_ok=True)
            weights.unlink(missing_ok=True)
        return min(float(cosines(self._wanted[strategy], got[strategy]).min()) for strategy in self._strategies)

    def _vectors(self, session: ort.InferenceSession) -> Vectors:
        rows: dict[Strategy, list[npt.NDArray[np.float32]]] = {strategy: [] for strategy in self._strategies}
        for row in range(len(self._tokens.rows)):
            batch = make_batch(self._tokens, [row])
            feed = {INPUT_IDS: batch.input_ids, ATTENTION_MASK: np.minimum(batch.attention_mask, 1)}
            (hidden,) = session.run([LAST_HIDDEN_STATE], feed)
            for strategy in self._strategies:
                rows[strategy].append(apply_head(pool(hidden, batch.attention_mask, strategy), self._head))
        return {strategy: np.concatenate(vectors) for strategy, vectors in rows.items()}
