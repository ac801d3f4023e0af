"""Encoders as others export them: written by hand in the style of the TorchScript exporter, node by node.

Shapes are computed by Shape, Gather, Unsqueeze and Concat; LayerNormalization, Gelu and attention are decomposed; no
value but inputs and outputs has a shape. Weights are random, and the same arguments give the same graph.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from tests.graphs.build import FLOAT, INT64, GraphBuilder
from tests.models import HIDDEN, POSITIONS, tiny_checkpoint

INT32 = ir.DataType.INT32
HEADS = 2
VOCAB = 300
"""More rows than the tiny tokeniser has ids."""


def torchscript_encoder(
    *,
    opset: int = 14,
    dtype: ir.DataType = INT64,
    inputs: Sequence[str] = ("input_ids", "attention_mask", "token_type_ids"),
    outputs: Sequence[str] = ("last_hidden_state",),
    dims: tuple[int | str, int | str] = ("batch_size", "sequence_length"),
    layers: int = 2,
    masked: bool = True,
    lowest: float = float(np.finfo(np.float32).min),
    width: int | str = HIDDEN,
    seed: int = 0,
) -> ir.Model:
    """A small BERT.

    Args:
        opset: 11 to 18.
        dtype: of the inputs.
        inputs: names, in order; others than the four known ones are there and added to the token vectors.
        outputs: `last_hidden_state` or `token_embeddings` [batch, seq, hidden]; `sentence_embedding`, their mean;
            anything else is another [batch, seq, hidden].
        dims: dimensions of the inputs.
        layers: how many.
        masked: whether attention reads the mask.
        lowest: what is added to the scores of masked positions.
        width: the last dimension as the outputs declare it.
        seed: of the weights.
    """
    build = _Bert(opset, dtype, seed)
    return build.encoder(inputs, outputs, dims, layers, lowest if masked else None, width)


def foreign_folder(
    folder: Path, model: ir.Model | Path, *, layout: str = "optimum", external: bool = False, **checkpoint: Any
) -> Path:
    """Put a graph into the folder of a tiny checkpoint without weights, and return the path of the graph.

    Args:
        folder: created.
        model: the graph, or a file to copy.
        layout: "optimum": the graph lies beside configuration and tokeniser, and nothing says the pooling; "hub": it
            lies in onnx/ of a sentence-transformers folder.
        external: keep the weights in model.onnx_data.
        checkpoint: as `tiny_checkpoint` takes them.
    """
    tiny_checkpoint(folder, **checkpoint)
    (folder / "model.safetensors").unlink()
    path = folder / "model.onnx"
    if layout == "hub":
        path = folder / "onnx" / "model.onnx"
        path.parent.mkdir()
    else:
        for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
            (folder / name).unlink()
    if isinstance(model, Path):
        shutil.copyfile(model, path)
    elif external:
        ir.save(model, path, external_data="model.onnx_data", size_threshold_bytes=256)
    else:
        ir.save(model, path)
    return path


class _Bert(GraphBuilder):
    def __init__(self, opset: int, dtype: ir.DataType, seed: int) -> None:
        super().__init__(opset)
        self.dtype = dtype
        self.rng = np.random.default_rng(seed)

    def weight(self, name: str, *shape: int) -> ir.Value:
        return self.constant(name, self.rng.normal(size=shape) * (0.3 if len(shape) > 1 else 0.1))

    def number(self, name: str, value: object, dtype: object = np.int64) -> ir.Value:
        found = next((constant for constant in self.constants if constant.name == name), None)
        return found if found is not None else self.constant(name, value, dtype)

    def unsqueeze(self, value: ir.Value, axis: int) -> ir.Value:
        if self.opset < 13:
            return self.op("Unsqueeze", value, axes=[axis])
        return self.op("Unsqueeze", value, self.number(f"axis_{axis}", [axis]))

    def mean(self, value: ir.Value, axis: int, keepdims: int = 1) -> ir.Value:
        if self.opset < 18:
            return self.op("ReduceMean", value, axes=[axis], keepdims=keepdims)
        return self.op("ReduceMean", value, self.number(f"axis_{axis}", [axis]), keepdims=keepdims)

    def size(self, value: ir.Value, axis: int) -> ir.Value:
        """A dimension as int64 [1]."""
        number = self.op("Gather", self.op("Shape", value), self.number(f"index_{axis}", axis), axis=0)
        return self.unsqueeze(number, 0)

    def norm(self, value: ir.Value, name: str) -> ir.Value:
        centred = self.op("Sub", value, self.mean(value, -1))
        variance = self.mean(self.op("Pow", centred, self.number("two", 2, np.float32)), -1)
        deviation = self.op("Sqrt", self.op("Add", variance, self.number("epsilon", 1e-12, np.float32)))
        scaled = self.op("Mul", self.op("Div", centred, deviation), self.weight(f"{name}.weight", HIDDEN))
        return self.op("Add", scaled, self.weight(f"{name}.bias", HIDDEN))

    def linear(self, value: ir.Value, name: str, columns: int, rows: int) -> ir.Value:
        product = self.op("MatMul", value, self.weight(f"onnx::MatMul_{name}", rows, columns))
        return self.op("Add", self.weight(f"{name}.bias", columns), product)

    def heads(self, value: ir.Value, name: str, perm: list[int]) -> ir.Value:
        projected = self.linear(value, name, HIDDEN, HIDDEN)
        sizes = [self.number("heads", [HEADS]), self.number("head_size", [HIDDEN // HEADS])]
        shape = self.op("Concat", self.size(value, 0), self.size(value, 1), *sizes, axis=0)
        return self.op("Transpose", self.op("Reshape", projected, shape), perm=perm)

    def attention(self, value: ir.Value, bias: ir.Value | None, name: str) -> ir.Value:
        query, key, content = (
            self.heads(value, f"{name}.{part}", perm)
            for part, perm in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3]))
        )
        scale = self.number("scale", (HIDDEN / HEADS) ** 0.5, np.float32)
        scores = self.op("Div", self.op("MatMul", query, key), scale)
        scores = scores if bias is None else self.op("Add", scores, bias)
        context = self.op("MatMul", self.op("Softmax", scores, axis=3), content)
        context = self.op("Transpose", context, perm=[0, 2, 1, 3])
        shape = self.op("Concat", self.size(context, 0), self.size(context, 1), self.number("width", [HIDDEN]), axis=0)
        return self.linear(self.op("Reshape", context, shape), f"{name}.output", HIDDEN, HIDDEN)

    def gelu(self, value: ir.Value) -> ir.Value:
        erf = self.op("Erf", self.op("Div", value, self.number("root_two", 2**0.5, np.float32)))
        doubled = self.op("Mul", value, self.op("Add", erf, self.number("one", 1, np.float32)))
        return self.op("Mul", doubled, self.number("half", 0.5, np.float32))

    def embeddings(self, given: dict[str, ir.Value]) -> ir.Value:
        value = self.op("Gather", self.weight("embeddings.word_embeddings.weight", VOCAB, HIDDEN), given["input_ids"])
        if "token_type_ids" in given:
            types = self.weight("embeddings.token_type_embeddings.weight", 2, HIDDEN)
            value = self.op("Add", value, self.op("Gather", types, given["token_type_ids"]))
        if "position_ids" in given:
            places = given["position_ids"]
        else:
            row = self.constant("position_ids.row", [range(POSITIONS)], np.int64)
            zero, one = self.number("axis_0", [0]), self.number("axis_1", [1])
            places = self.op("Slice", row, zero, self.size(given["input_ids"], 1), one)
        table = self.weight("embeddings.position_embeddings.weight", POSITIONS, HIDDEN)
        value = self.op("Add", value, self.op("Gather", table, places))
        for name in given.keys() - {"input_ids", "attention_mask", "token_type_ids", "position_ids"}:
            value = self.op("Add", value, self.unsqueeze(self.op("Cast", given[name], to=FLOAT), 2))
        return self.norm(value, "embeddings.LayerNorm")

    def bias(self, mask: ir.Value, lowest: float) -> ir.Value:
        absent = self.op(
            "Sub",
            self.number("one", 1, np.float32),
            self.op("Cast", self.unsqueeze(self.unsqueeze(mask, 1), 2), to=FLOAT),
        )
        return self.op("Mul", absent, self.number("lowest", lowest, np.float32))

    def encoder(self, inputs, outputs, dims, layers, lowest, width) -> ir.Model:
        given = {name: self.input(name, self.dtype, *dims) for name in inputs}
        value = self.embeddings(given)
        bias = None if lowest is None else self.bias(given["attention_mask"], lowest)
        for layer in range(layers):
            name = f"encoder.layer.{layer}"
            value = self.norm(self.op("Add", self.attention(value, bias, f"{name}.attention"), value), f"{name}.norm")
            wide = self.gelu(self.linear(value, f"{name}.intermediate", 2 * HIDDEN, HIDDEN))
            narrow = self.linear(wide, f"{name}.output", HIDDEN, 2 * HIDDEN)
            value = self.norm(self.op("Add", narrow, value), f"{name}.output_norm")
        results = []
        for name in outputs:
            if name == "sentence_embedding":
                mask = self.unsqueeze(self.op("Cast", given["attention_mask"], to=FLOAT), 2)
                result = self.mean(self.op("Mul", value, mask), 1, keepdims=0)
                result.name, result.shape = name, ir.Shape([dims[0], width])
            else:
                result = self.op("Identity", value, name=name)
                result.shape = ir.Shape([*dims, width])
            results.append(result)
        return self.model(*results)
