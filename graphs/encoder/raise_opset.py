"""Convert a graph to a later opset, so that every pass finds the operators it knows and appends its own.

Ignorant of what the graph computes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import onnx_ir as ir
from onnxscript.version_converter import ConvertVersionPass

OPSET = 23
"""What encoders are traced at: the first opset with `Attention` as one operator."""

_CONVERTER_OPSET = 18
"""onnxscript converts from here on; what is older goes through ONNX's own converter up to here."""


class RaiseOpsetPass(ir.passes.InPlacePass):
    """Convert a graph below `opset` to it; a later one stays as it is.

    Before: opset 14: ReduceMean(axes=[-1]), Unsqueeze(axes), ...
    After:  opset 23: ReduceMean with axes as an input, ...

    Requires: an opset of ONNX's own operators is imported. Shapes inferred, where it is below 13: by its rank ONNX's
        converter tells a Softmax that stays one from a Softmax that becomes five nodes.
    Ensures: opset `opset` or later, or a PreconditionError that gives the converter's reason. Operators of other
        domains are left alone.
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
        """Convert in one step, or in two from before opset 18."""
        before = model.opset_imports[""]
        if before >= self.opset:
            return ir.passes.PassResult(model, modified=False)
        for step in (_CONVERTER_OPSET, self.opset):
            if model.opset_imports[""] < step:
                with _reasons() as reasons:
                    ConvertVersionPass(step, fallback=True)(model)
                # Where it fails, the converter logs why and leaves the graph alone; a node that it skips it logs too.
                if reasons or model.opset_imports[""] != step:
                    raise ir.passes.PreconditionError(
                        f"opset {before} cannot be converted to {self.opset}: {'; '.join(reasons) or 'no reason given'}"
                    )
        return ir.passes.PassResult(model, modified=True)


class _Reasons(logging.Handler):
    """Collects what the converter reports as skipped or failed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.reasons: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the reason alone: a place in the converter's source helps nobody."""
        error = record.exc_info[1] if record.exc_info is not None else None
        if error is not None:
            self.reasons.append(str(error).rpartition(" failed: ")[2] or type(error).__name__)
        elif "exception" in str(record.msg):
            self.reasons.append(record.getMessage())


@contextmanager
def _reasons() -> Iterator[list[str]]:
    """Catch the converter's log: what it says about fallbacks is no matter, failures are."""
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
