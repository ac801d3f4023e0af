"""Let the encoder see every token, and the pooling alone tell which tokens it leaves out.

Independent of what the encoder is and of which pooling follows.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs.ir.names import ATTENTION_MASK
from graphs.ir.stage import STAGE_KEY, Stage, stage_of

_STAGE = "mask"


class WholeMaskPass(ir.passes.InPlacePass):
    """Replace attention_mask by Min(attention_mask, 1) for every node but those of the pooling.

    Before: attention_mask -> encoder; attention_mask -> pooling
    After:  attention_mask -> Min(1) -> encoder; attention_mask -> pooling, which pools where the mask is 1

    Requires: an input attention_mask int64 [batch, seq]; a pooling that distinguishes 1 and 2 (`fold_pooling` with
        `prompt_apart`).
    Ensures: on masks of 0 and 1 the graph gives what it gave before; a 2 is a token for the encoder.
    Numerics: exact. A second application is refused.
    Source: sentence-transformers, `Pooling.include_prompt`.
    """

    def requires(self, model: ir.Model) -> None:
        """Refuse a graph without a mask, without a pooling, or with this node already."""
        mask = next((value for value in model.graph.inputs if value.name == ATTENTION_MASK), None)
        if mask is None or not any(stage_of(node) == "pooling" for node, _ in mask.uses()):
            raise ir.passes.PreconditionError(
                f"the encoder's own mask needs {ATTENTION_MASK} and a pooling that reads it"
            )
        if any(node.op_type == "Min" and stage_of(node) == _STAGE for node, _ in mask.uses()):
            raise ir.passes.PreconditionError("the encoder has a mask of its own already; apply this once")

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Insert the node."""
        graph = model.graph
        mask = next(value for value in graph.inputs if value.name == ATTENTION_MASK)
        readers = [(node, place) for node, place in mask.uses() if stage_of(node) != "pooling"]
        stage = Stage(graph, f"{_STAGE}.whole")
        one = stage.constant("one", 1, np.int64)
        whole = ir.Value(name=f"{_STAGE}.whole", type=ir.TensorType(ir.DataType.INT64), shape=mask.shape)
        node = ir.node("Min", [mask, one], outputs=[whole], name=f"{_STAGE}.whole", metadata_props={STAGE_KEY: _STAGE})
        graph.insert_before(graph[0], node)
        for reader, place in readers:
            reader.replace_input_with(place, whole)
        return ir.passes.PassResult(model, modified=True)
