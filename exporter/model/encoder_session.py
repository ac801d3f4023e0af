"""ONNX Runtime over the captured encoder, for what an export learns of it before any graph of the artifact is there."""

from __future__ import annotations

from pathlib import Path

import onnxruntime as ort

from poolfold.sessions.int8_products import CONFIG, exact_products
from poolfold.sessions.threads import default_threads


def open_encoder(path: Path, threads: int | None, *, prepack: bool = True) -> ort.InferenceSession:
    """A session on the CPU whose threads leave the cores to others between runs.

    Args:
        path: the graph; its external data lies beside it.
        threads: of a run; None for `default_threads`.
        prepack: whether to lay out the weights anew, which takes their size again and pays in long runs.
    """
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or default_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.disable_prepacking", "0" if prepack else "1")
    options.add_session_config_entry(CONFIG, exact_products())
    # What is rounded and widened again is computed as it is written, and not in integers of fewer bits.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    # ONNX Runtime takes fp8's zero point for its lowest number, and leaves out a Relu in front of it.
    options.add_session_config_entry("optimization.disable_specified_optimizers", "ReluQuantRewrite;ClipQuantRewrite")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
