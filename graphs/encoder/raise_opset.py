"""Convert a graph to a later opset, so that the passes can read and append operators of that opset.

Independent of what the graph computes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import onnx_ir as ir
from onnxscript.version_converter import ConvertVersionPass

OPSET = 23
"""The opset at which encoders are traced: the first one with `Attention` as one operator."""

_CONVERTER_OPSET = 18
"""onnxscript converts graphs of this opset and later; ONNX's own converter brings older graphs up to it."""


class RaiseOpsetPass(ir.passes.InPlacePass):
    """Convert a graph of an earlier opset to `opset`; a graph of a later opset stays as it is.

    Before: opset 14: ReduceMean(axes=[-1]), Unsqueeze(axes), ...
    After:  opset 23: ReduceMean with axes as an input, ...

    Requires: the graph imports an opset of ONNX's own operators. Below opset 13, shapes are inferred: ONNX's converter
        needs the rank to decide whether a Softmax stays one node or becomes five.
    Ensures: opset `opset` or later, or a PreconditionError with the converter's reason. Operators of other domains do
        not change.
    Numerics: exact: the same operators under later names and conventions.
    Source: onnxscript's version converter; ONNX's below opset 18.
    """

    def __init__(self, opset: int = OPSET) -> None:
        self.opset = opset

    def requires(self, model: ir.Model) -> None:
        """Refuse a graph without an opset."""
        if "" not in model.opset_imports:
            raise ir.passes.PreconditionError(f"it imports {sorted(model.opset_imports)}, and no opset of ONNX itself")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Convert in one step; from below opset 18 in two."""
        before = model.opset_imports[""]
        if before >= self.opset:
            return ir.passes.PassResult(model, modified=False)
        for step in (_CONVERTER_OPSET, self.opset):
            if model.opset_imports[""] < step:
                with _reasons() as reasons:
                    ConvertVersionPass(step, fallback=True)(model)
                # The converter does not raise: it logs why it failed, or which node it skipped.
                if reasons or model.opset_imports[""] != step:
                    raise ir.passes.PreconditionError(
                        f"opset {before} cannot be converted to {self.opset}: {'; '.join(reasons) or 'no reason given'}"
                    )
        return ir.passes.PassResult(model, modified=True)


class _Reasons(logging.Handler):
    """Collects the converter's messages about nodes that it skipped or failed to convert."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.reasons: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the reason without its location in the converter's source."""
        error = record.exc_info[1] if record.exc_info is not None else None
        if error is not None:
            self.reasons.append(str(error).rpartition(" failed: ")[2] or type(error).__name__)
        elif "exception" in str(record.msg):
            self.reasons.append(record.getMessage())


@contextmanager
def _reasons() -> Iterator[list[str]]:
    """Capture the converter's log; yields the failures, and drops messages about fallbacks."""
    logger = logging.getLogger("onnxscript.version_converter")
    children = [logger, logging.getLogger(f"{logger.name}._version_converter")]
    handler = _Reasons()
    before = [(log.level, log.propagate) for log in children]
    for log in children:
        log.setLevel(logging.WARNING)
        log.propagate = False
        log.addHandler(handler)
    try:
        yield handler.reasons
    finally:
        for log, (level, propagate) in zip(children, before, strict=True):
            log.removeHandler(handler)
            log.setLevel(level)
            log.propagate = propagate
