"""Attention masks as exporters write them: a subgraph from attention_mask to what an attention reads."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.encoder.cleanup import cleanup
from graphs.mask.mask_program import MaskProgram
from tests.graphs.build import FLOAT
from tests.graphs.encoders import BOOL, LOWEST, EncoderBuilder


class MaskBuilder(EncoderBuilder):
    """Parts of masks."""

    def within(self, distance: ir.Value, least: int | None, most: int | None) -> list[ir.Value]:
        """Which distances lie between the two, bool."""
        found = []
        if most is not None:
            found.append(self.op("LessOrEqual", distance, self.scalar(most, np.int64)))
        if least is not None:
            found.append(self.op("GreaterOrEqual", distance, self.scalar(least, np.int64)))
        return found

    def every(self, first: ir.Value, *others: ir.Value) -> ir.Value:
        for other in others:
            first = self.op("And", first, other)
        return first

    def additive(self, allowed: ir.Value, lowest: float = LOWEST) -> ir.Value:
        return self.op("Where", allowed, self.scalar(0), self.scalar(lowest))

    def floats(self) -> ir.Value:
        """The attention_mask as floats, [batch, 1, 1, seq]."""
        return self.op("Cast", self.op("Unsqueeze", self.mask, self.ints(1, 2)), to=FLOAT)

    def spread(self, value: ir.Value) -> ir.Value:
        """To [batch, 1, seq, seq]."""
        sizes = [self.op("Shape", self.ids, start=0, end=1), self.ints(1)]
        sizes += 2 * [self.op("Shape", self.ids, start=1, end=2)]
        return self.op("Expand", value, self.op("Concat", *sizes, axis=0))

    def cut(self, table: np.ndarray) -> ir.Value:
        """A table [1, 1, n, n] cut to [1, 1, seq, seq]."""
        kept = self.constant(f"table_{len(self.constants)}", table[None, None], table.dtype)
        end = self.op("Shape", self.ids, start=1, end=2)
        ends = self.op("Concat", end, end, axis=0)
        return self.op("Slice", kept, self.ints(0, 0), ends, self.ints(2, 3))


def program(mask: ir.Value, build: EncoderBuilder, *, inverted: bool = False) -> MaskProgram:
    """The mask's program, in a clean graph that computes more than the mask."""
    output = build.op("Identity", mask, name="out")
    model = build.model(build.op("Tanh", build.op("MatMul", build.embeddings(), build.weight(16, 16))))
    ir.passes.common.ShapeInferencePass()(model)
    model.graph.outputs.append(output)
    cleanup(model)
    return MaskProgram(model.graph, model.graph.outputs[-1], inverted=inverted)


__all__ = ["BOOL", "LOWEST", "MaskBuilder", "program"]
