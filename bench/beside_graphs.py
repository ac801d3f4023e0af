"""What runs beside a graph in numpy, and the bare matrix product.

What the users of an export without pooling write behind it: pool, and scale to unit length, as fast as numpy allows:
the mean is one matrix product, without a copy of the token vectors.

The matrix products of one feed-forward block, alone, are the rate that a model's own operations are held against.

For each batch, `[tokens, hidden] x [hidden, intermediate]` and `[tokens, intermediate] x [intermediate, hidden]` with
constant weights: the largest and most frequent products of a transformer, in the shapes that it has, padding included.
"""

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import numpy.typing as npt

from exporter.measure.protocol import Embed, Pooled

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
_SEED = 0


def write_graph(path: Path, hidden: int, intermediate: int) -> None:
    """The two products as ONNX: `rows`, float32 [tokens, hidden] -> float32 [tokens, hidden]."""
    import onnx_ir as ir  # what runs in a peer's environment has none

    up, down = weights(hidden, intermediate)
    rows = ir.val("rows", ir.DataType.FLOAT, ["tokens", hidden])
    values = [ir.Value(name=name, const_value=ir.tensor(array)) for name, array in (("up", up), ("down", down))]
    first = ir.Node("", "MatMul", [rows, values[0]])
    second = ir.Node("", "MatMul", [first.outputs[0], values[1]])
    output = second.outputs[0]
    output.name, output.type, output.shape = "products", rows.type, rows.shape
    graph = ir.Graph(
        [rows], [output], nodes=[first, second], initializers=values, opset_imports={"": 20}, name="product"
    )
    ir.save(ir.Model(graph, ir_version=10), path)


def load_pytorch(hidden: int, intermediate: int, threads: int) -> Embed:
    """The two products in PyTorch."""
    import torch

    torch.set_num_threads(threads)
    up, down = (torch.from_numpy(weight) for weight in weights(hidden, intermediate))
    return product(hidden, lambda rows: (torch.from_numpy(rows) @ up @ down).numpy())


def product(hidden: int, multiply: Callable[[Floats], Floats]) -> Embed:
    """A system for a worker: `multiply` on as many rows as a batch has tokens; what the tokens are does not matter."""
    rows: dict[int, Floats] = {}

    def run(input_ids: Ids, attention_mask: Ids) -> Floats:
        tokens = input_ids.size
        if tokens not in rows:
            rows[tokens] = np.random.default_rng(_SEED).standard_normal((tokens, hidden), dtype=np.float32)
        return multiply(rows[tokens])[: len(input_ids)]

    return run


def weights(hidden: int, intermediate: int) -> tuple[Floats, Floats]:
    """float32 [hidden, intermediate] and [intermediate, hidden], scaled so that the products stay near 1."""
    rng = np.random.default_rng(_SEED)
    up = rng.standard_normal((hidden, intermediate), dtype=np.float32) / np.float32(hidden**0.5)
    down = rng.standard_normal((intermediate, hidden), dtype=np.float32) / np.float32(intermediate**0.5)
    return up, down


def cls(hidden: Floats, attention_mask: Ids) -> Floats:
    """The first token's vector: float32 [batch, seq, hidden], padded on the right -> float32 [batch, hidden]."""
    return _unit_length(hidden[:, 0])


def mean(hidden: Floats, attention_mask: Ids) -> Floats:
    """The average of the unmasked tokens: float32 [batch, seq, hidden] -> float32 [batch, hidden]."""
    mask = attention_mask.astype(np.float32)
    return _unit_length((mask[:, None, :] @ hidden)[:, 0] / mask.sum(axis=1, keepdims=True))


def lasttoken(hidden: Floats, attention_mask: Ids) -> Floats:
    """The last unmasked token's vector: float32 [batch, seq, hidden] -> float32 [batch, hidden]."""
    places = (attention_mask * np.arange(attention_mask.shape[1])).argmax(axis=1)
    return _unit_length(hidden[np.arange(len(hidden)), places])


def _unit_length(vectors: Floats) -> Floats:
    lengths: Floats = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


POOLS = {"cls": cls, "mean": mean, "lasttoken": lasttoken}


def pooled(forward: Callable[[Ids, Ids], Floats]) -> Pooled:
    """A system for a worker: what gives `last_hidden_state`, and the poolings behind it."""
    return Pooled(forward, POOLS)


def feeds(names: Collection[str], input_ids: Ids, attention_mask: Ids) -> dict[str, Ids]:
    """What a graph with these inputs is fed."""
    more = {"token_type_ids": np.zeros_like(input_ids)} if "token_type_ids" in names else {}
    if "position_ids" in names:
        more["position_ids"] = np.maximum(attention_mask.cumsum(axis=1) - 1, 0)
    return {"input_ids": input_ids, "attention_mask": attention_mask, **more}
