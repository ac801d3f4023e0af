"""Small embedding graphs with real attention in them, in the forms in which exporters write it. Seeded weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

HEADS = 2
VOCAB = 100
FLOAT, HALF = 1, 10  # ONNX's numbers for the two types


def write_graph(
    path: Path,
    *,
    form: str = "Attention",
    layers: Sequence[str] = ("fp16", "fp16"),
    head_size: int = 16,
    external: bool = False,
    output: str = "sentence_embedding",
    output_type: int = FLOAT,
    tail: str = "",
) -> Path:
    """Write ids -> embedding table -> attention layers -> masked mean.

    Args:
        path: the .onnx file.
        form: "Attention" for the operator, "Softmax" for matrix products around a softmax, with an additive mask,
            "Where" for the same with masked scores replaced.
        layers: the precision of each layer.
        head_size: values of one head.
        external: put the weights into a file of their own.
        output: the graph output's name.
        output_type: the graph output's type.
        tail: further lines of the graph.
    """
    hidden = HEADS * head_size
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {"table": (rng.standard_normal((VOCAB, hidden)) * 0.2).astype(np.float32)}
    lines = [
        "axes12 = Constant<value_ints=[1,2]>()",
        "axis1 = Constant<value_ints=[1]>()",
        "axis2 = Constant<value_ints=[2]>()",
        f"split = Constant<value_ints=[0,0,{HEADS},{head_size}]>()",
        f"merge = Constant<value_ints=[0,0,{hidden}]>()",
        f"scale = Constant<value_float={head_size**-0.5}>()",
        "one = Constant<value_float=1.0>()",
        "low = Constant<value_float=-10000.0>()",
        "mask = Cast<to=1>(attention_mask)",
        "gap = Sub(one, mask)",
        "bias = Mul(gap, low)",
        "bias4 = Unsqueeze(bias, axes12)",
        "seen = Cast<to=9>(attention_mask)",
        "seen4 = Unsqueeze(seen, axes12)",
        "h0 = Gather(table, input_ids)",
    ]
    for n, precision in enumerate(layers):
        kind = HALF if precision == "fp16" else FLOAT
        lines += [f"x{n} = Cast<to={kind}>(h{n})"]
        for name in ("q", "k", "v", "o"):
            weight = rng.standard_normal((hidden, hidden)) * 0.2
            weights[f"w{name}{n}"] = weight.astype(np.float16 if kind == HALF else np.float32)
        for name in ("q", "k", "v"):
            order = [0, 2, 3, 1] if name == "k" and form != "Attention" else [0, 2, 1, 3]
            lines += [
                f"{name}a{n} = MatMul(x{n}, w{name}{n})",
                f"{name}b{n} = Reshape({name}a{n}, split)",
                f"{name}{n} = Transpose<perm={order}>({name}b{n})",
            ]
        lines += [f"bias{n} = Cast<to={kind}>(bias4)", f"low{n} = Cast<to={kind}>(low)"]
        if form == "Attention":
            lines += [f"a{n} = Attention<scale={head_size**-0.5}>(q{n}, k{n}, v{n}, bias{n})"]
        else:
            lines += [
                f"s{n} = MatMul(q{n}, k{n})",
                f"c{n} = Cast<to={kind}>(scale)",
                f"t{n} = Mul(s{n}, c{n})",
                f"u{n} = Add(t{n}, bias{n})" if form == "Softmax" else f"u{n} = Where(seen4, t{n}, low{n})",
                f"p{n} = Softmax<axis=-1>(u{n})",
                f"a{n} = MatMul(p{n}, v{n})",
            ]
        lines += [
            f"b{n} = Transpose<perm=[0,2,1,3]>(a{n})",
            f"d{n} = Reshape(b{n}, merge)",
            f"e{n} = MatMul(d{n}, wo{n})",
            f"f{n} = Add(x{n}, e{n})",
            f"h{n + 1} = Cast<to=1>(f{n})",
        ]
    lines += [
        "mask3 = Unsqueeze(mask, axis2)",
        f"kept = Mul(h{len(layers)}, mask3)",
        "total = ReduceSum<keepdims=0>(kept, axis1)",
        "count = ReduceSum<keepdims=0>(mask3, axis1)",
        "mean = Div(total, count)",
        f"{output} = Cast<to={output_type}>(mean)",
        tail,
    ]
    kinds = {np.dtype(np.float16): "float16", np.dtype(np.float32): "float"}
    inputs = "".join(f", {kinds[w.dtype]}[{w.shape[0]},{w.shape[1]}] {name}" for name, w in weights.items())
    body = "\n".join(lines)
    model = ir.from_onnx_text(
        f"""<ir_version: 10, opset_import: ["" : 23]>
        tiny (int64[batch,seq] input_ids, int64[batch,seq] attention_mask{inputs})
        => ({"float" if output_type == FLOAT else "float16"}[batch,{hidden}] {output}) {{ {body} }}"""
    )
    for value in list(model.graph.inputs):
        if value.name in weights:
            model.graph.inputs.remove(value)
            value.const_value = ir.tensor(weights[value.name], name=value.name)
            model.graph.register_initializer(value)
    if external:
        ir.save(model, path, external_data=f"{path.stem}.bin", size_threshold_bytes=0)
    else:
        ir.save(model, path)
    return path
