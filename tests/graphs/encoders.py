"""Tiny encoders built by hand, in the ways that architectures differ, and batches to run them on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from hypothesis import strategies as st

from graphs.encoder.cleanup import cleanup
from graphs.encoder.constant_shapes import ConstantShapesPass
from graphs.mask.canonical_mask import CanonicalMaskPass
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.strategy import parse_strategy
from tests.graphs.build import FLOAT, INT64, GraphBuilder, session

HEADS, HEAD = 4, 4
WIDTH = HEADS * HEAD
FEED_FORWARD = 24
VOCABULARY = 40
LONGEST = 12
LOWEST = np.finfo(np.float32).min
BOOL = ir.DataType.BOOL


@dataclass(frozen=True)
class Style:
    """How the layers of an encoder are made.

    block: "post", "pre" (a norm at the end as well) or "parallel", attention beside feed-forward.
    feed_forward: "plain", "split" (gated, one product cut in two) or "gated" (two products).
    attention: "operator", or "products" with a Softmax between.
    position: "none", "table" (added to the embeddings), "rotary", "rotary2d" (cos and sin without a batch axis),
        "bias", "bias3d" (without a batch axis).
    grouped: two query heads share a key and a value.
    fused: queries, keys and values come out of one product.
    behind, ahead: of the band of the mask; None for without limit.
    mask: "bool" for the operator, "add" or "where" for the products.
    """

    block: str = "post"
    feed_forward: str = "plain"
    attention: str = "operator"
    position: str = "none"
    grouped: bool = False
    fused: bool = False
    behind: int | None = None
    ahead: int | None = None
    mask: str = "add"
    layers: int = 2


class EncoderBuilder(GraphBuilder):
    """Operators with the dimensions that an exporter writes down, and the parts of a transformer."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.rng = np.random.default_rng(seed)
        self.ids = self.input("input_ids", INT64, "batch", "seq")
        self.mask = self.input("attention_mask", INT64, "batch", "seq")
        self._integers: dict[tuple[int, ...], ir.Value] = {}

    def shaped(self, dims: str, op_type: str, *inputs: ir.Value | None, dtype: ir.DataType = FLOAT, **attributes):
        """An operator whose output has these dimensions, such as "batch seq 4"."""
        value = self.op(op_type, *inputs, **attributes)
        value.type = ir.TensorType(dtype)
        value.shape = ir.Shape([int(d) if d.isdigit() else d for d in dims.split()])
        return value

    def ints(self, *numbers: int) -> ir.Value:
        if numbers not in self._integers:
            name = "i_" + "_".join(str(n).replace("-", "m") for n in numbers)
            self._integers[numbers] = self.constant(name, numbers, np.int64)
        return self._integers[numbers]

    def scalar(self, number: float, dtype: type = np.float32) -> ir.Value:
        return self.constant(f"s_{len(self.constants)}", number, dtype)

    def weight(self, *shape: int) -> ir.Value:
        return self.constant(f"w_{len(self.constants)}", self.rng.normal(size=shape) / shape[0] ** 0.5)

    def linear(self, x: ir.Value, inner: int, outer: int) -> ir.Value:
        return self.op("Add", self.op("MatMul", x, self.weight(inner, outer)), self.weight(outer))

    def norm(self, x: ir.Value, width: int = WIDTH) -> ir.Value:
        scale = self.constant(f"w_{len(self.constants)}", 1 + 0.1 * self.rng.normal(size=width))
        return self.op("LayerNormalization", x, scale, self.weight(width))

    def embeddings(self) -> ir.Value:
        return self.op("Gather", self.weight(VOCABULARY, WIDTH), self.ids)

    def positions(self) -> ir.Value:
        """0, 1, ..., int64 [seq]."""
        size = self.shaped("1", "Shape", self.mask, start=1, end=2, dtype=INT64)
        end = self.op("Squeeze", size, self.ints(0))
        return self.shaped("seq", "Range", self.scalar(0, np.int64), end, self.scalar(1, np.int64), dtype=INT64)

    def distances(self) -> ir.Value:
        """i - j, int64 [seq, seq]."""
        at = self.positions()
        return self.op("Sub", self.op("Unsqueeze", at, self.ints(1)), self.op("Unsqueeze", at, self.ints(0)))

    def tokens(self) -> ir.Value:
        """Whether a key is a token, bool [batch, 1, 1, seq]."""
        return self.op("Unsqueeze", self.op("Cast", self.mask, to=BOOL), self.ints(1, 2))

    def band(self, behind: int | None, ahead: int | None) -> ir.Value:
        """Whether the positions allow it, bool [seq, seq]."""
        allowed = self.op("Equal", self.distances(), self.distances())
        if behind is not None:
            near = self.op("LessOrEqual", self.distances(), self.scalar(behind, np.int64))
            allowed = self.op("And", allowed, near)
        if ahead is not None:
            near = self.op("GreaterOrEqual", self.distances(), self.scalar(-ahead, np.int64))
            allowed = self.op("And", allowed, near)
        return allowed

    def allowed(self, behind: int | None = None, ahead: int | None = None) -> ir.Value:
        """bool [batch, 1, seq, seq]."""
        return self.shaped("batch 1 seq seq", "And", self.tokens(), self.band(behind, ahead), dtype=BOOL)

    def heads(self, x: ir.Value, heads: int) -> ir.Value:
        return self.op("Transpose", self.op("Reshape", x, self.ints(0, 0, heads, HEAD)), perm=[0, 2, 1, 3])

    def merged(self, x: ir.Value) -> ir.Value:
        return self.op("Reshape", self.op("Transpose", x, perm=[0, 2, 1, 3]), self.ints(0, 0, WIDTH))

    def repeated(self, x: ir.Value, times: int) -> ir.Value:
        """Each head of a key or value, several times."""
        five = self.op("Unsqueeze", x, self.ints(2))
        many = self.op("Expand", five, self.ints(1, 1, times, 1, 1))
        return self.shaped(f"batch {HEADS} seq {HEAD}", "Reshape", many, self.ints(0, HEADS, -1, HEAD))

    def angles(self, *, batch: bool) -> tuple[ir.Value, ir.Value]:
        """Cosine and sine, [1, seq, head] or [seq, head]."""
        at = self.op("Unsqueeze", self.op("Cast", self.positions(), to=FLOAT), self.ints(1))
        frequencies = 10.0 ** -np.tile(np.arange(HEAD // 2), 2)
        angle = self.op("Mul", at, self.constant(f"w_{len(self.constants)}", frequencies[None]))
        if batch:
            angle = self.op("Unsqueeze", angle, self.ints(0))
        return self.op("Cos", angle), self.op("Sin", angle)

    def rotated(self, x: ir.Value, cos: ir.Value, sin: ir.Value) -> ir.Value:
        half = HEAD // 2
        left = self.op("Slice", x, self.ints(0), self.ints(half), self.ints(3))
        right = self.op("Slice", x, self.ints(half), self.ints(2**63 - 1), self.ints(3))
        turned = self.op("Concat", self.op("Neg", right), left, axis=-1)
        return self.op("Add", self.op("Mul", x, cos), self.op("Mul", turned, sin))

    def bias(self, *, batch: bool) -> ir.Value:
        """A bias by head and distance, [1, heads, seq, seq] or [heads, seq, seq]."""
        reach = LONGEST + 2
        clipped = self.op("Add", self.distances(), self.scalar(reach, np.int64))
        table = self.constant(f"w_{len(self.constants)}", self.rng.normal(size=(2 * reach, HEADS)))
        turned = self.op("Transpose", self.op("Gather", table, clipped), perm=[2, 0, 1])
        return self.op("Unsqueeze", turned, self.ints(0)) if batch else turned

    def encoder(self, style: Style) -> ir.Value:
        """The token vectors, [batch, seq, width]."""
        x = self.embeddings()
        if style.position == "table":
            table = self.op("Gather", self.weight(LONGEST + 8, WIDTH), self.positions())
            x = self.op("Add", x, self.op("Unsqueeze", table, self.ints(0)))
        rotary = self.angles(batch=style.position == "rotary") if style.position.startswith("rotary") else None
        bias = self.bias(batch=style.position == "bias") if style.position.startswith("bias") else None
        if style.block == "post":
            x = self.norm(x)
        allowed = self.allowed(style.behind, style.ahead)
        for _ in range(style.layers):
            x = self.layer(x, style, allowed, rotary, bias)
        return x if style.block == "post" else self.norm(x)

    def layer(self, x, style, allowed, rotary=None, bias=None) -> ir.Value:
        match style.block:
            case "post":
                x = self.norm(self.op("Add", x, self.attend(x, style, allowed, rotary, bias)))
                return self.norm(self.op("Add", x, self.feed_forward(x, style)))
            case "pre":
                x = self.op("Add", x, self.attend(self.norm(x), style, allowed, rotary, bias))
                return self.op("Add", x, self.feed_forward(self.norm(x), style))
        normed = self.norm(x)
        both = self.op("Add", self.attend(normed, style, allowed, rotary, bias), self.feed_forward(normed, style))
        return self.op("Add", x, both)

    def attend(self, x, style, allowed, rotary=None, bias=None) -> ir.Value:
        kv_heads = HEADS // 2 if style.grouped else HEADS
        sizes = [HEADS * HEAD, kv_heads * HEAD, kv_heads * HEAD]
        if style.fused:
            mixed = self.linear(x, WIDTH, sum(sizes))
            split = ir.node("Split", [mixed, self.ints(*sizes)], {"axis": -1}, num_outputs=3)
            self.nodes.append(split)
            for index, value in enumerate(split.outputs):
                value.name = f"split_{len(self.nodes)}_{index}"
            parts = list(split.outputs)
        else:
            parts = [self.linear(x, WIDTH, size) for size in sizes]
        query, key, value = (self.heads(p, n) for p, n in zip(parts, (HEADS, kv_heads, kv_heads), strict=True))
        if rotary is not None:
            query, key = self.rotated(query, *rotary), self.rotated(key, *rotary)
        if style.grouped:
            key, value = self.repeated(key, 2), self.repeated(value, 2)
        if style.attention == "operator":
            mask = allowed
            if bias is not None:
                mask = self.op("Add", bias, self.op("Where", allowed, self.scalar(0), self.scalar(LOWEST)))
            context = self.shaped(f"batch {HEADS} seq {HEAD}", "Attention", query, key, value, mask)
        else:
            scores = self.op("MatMul", query, self.op("Transpose", key, perm=[0, 1, 3, 2]))
            scores = self.op("Mul", scores, self.scalar(HEAD**-0.5))
            if bias is not None:
                scores = self.op("Add", scores, bias)
            context = self.op("MatMul", self.op("Softmax", self.masked(scores, style, allowed), axis=-1), value)
        return self.linear(self.merged(context), WIDTH, WIDTH)

    def masked(self, scores: ir.Value, style: Style, allowed: ir.Value) -> ir.Value:
        if style.mask == "where":
            return self.op("Where", allowed, scores, self.scalar(-1e9))
        return self.op("Add", scores, self.op("Where", allowed, self.scalar(0), self.scalar(LOWEST)))

    def feed_forward(self, x: ir.Value, style: Style) -> ir.Value:
        if style.feed_forward == "plain":
            return self.linear(self.op("Gelu", self.linear(x, WIDTH, FEED_FORWARD)), FEED_FORWARD, WIDTH)
        if style.feed_forward == "split":
            both = self.linear(x, WIDTH, 2 * FEED_FORWARD)
            split = ir.node("Split", [both], {"axis": -1, "num_outputs": 2}, num_outputs=2)
            self.nodes.append(split)
            for index, value in enumerate(split.outputs):
                value.name = f"split_{len(self.nodes)}_{index}"
            gate, up = split.outputs
        else:
            gate, up = self.linear(x, WIDTH, FEED_FORWARD), self.linear(x, WIDTH, FEED_FORWARD)
        active = self.op("Mul", gate, self.op("Sigmoid", gate))
        return self.linear(self.op("Mul", active, up), FEED_FORWARD, WIDTH)

    def finish(self, hidden: ir.Value, width: int = WIDTH) -> ir.Model:
        """The graph, clean, ending in last_hidden_state."""
        output = self.shaped(f"batch seq {width}", "Identity", hidden, name="last_hidden_state")
        model = self.model(output)
        cleanup(model)
        return model


def encoder(style: Style = Style(), seed: int = 0) -> ir.Model:
    build = EncoderBuilder(seed)
    return build.finish(build.encoder(style))


def canonical(model: ir.Model) -> ir.Model:
    """A clone with constant shapes and a canonical mask."""
    model = model.clone()
    ConstantShapesPass()(model)
    CanonicalMaskPass()(model)
    cleanup(model)
    return model


def pooled(model: ir.Model, strategy: str = "cls") -> ir.Model:
    """A clone with the pooling folded in."""
    model = model.clone()
    FoldPoolingPass(parse_strategy(strategy))(model)
    cleanup(model)
    return model


def run_on(model: ir.Model, *batches: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The first output for each batch; a batch may hold more than the graph takes."""
    opened = session(model)
    names = [value.name for value in opened.get_inputs()]
    return [opened.run(None, {name: batch[name] for name in names})[0] for batch in batches]


def batch_of(mask: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
    """A batch with this attention_mask; padding holds ids like any token."""
    mask = np.asarray(mask, np.int64)
    first = mask.reshape(-1).copy()
    first[0] = 1
    ids = np.random.default_rng(seed).integers(0, VOCABULARY, mask.shape)
    return {"input_ids": ids, "attention_mask": mask, "token_positions": np.flatnonzero(first)[None]}


@st.composite
def masks(draw: st.DrawFn, longest: int = LONGEST) -> np.ndarray:
    """Right padding, left padding, holes, one token, none."""
    batch, seq = draw(st.integers(1, 4)), draw(st.integers(1, longest))
    rows = []
    for _ in range(batch):
        row = np.arange(seq) < draw(st.sampled_from([0, 1, seq, draw(st.integers(0, seq))]))
        kind = draw(st.sampled_from(["right", "left", "holes"]))
        if kind == "left":
            row = row[::-1]
        if kind == "holes":
            row = np.array(draw(st.lists(st.booleans(), min_size=seq, max_size=seq)))
        rows.append(row)
    return np.array(rows).astype(np.int64)


def batches(longest: int = LONGEST) -> st.SearchStrategy[dict[str, np.ndarray]]:
    return st.builds(batch_of, masks(longest), st.integers(0, 2**16))


EDGES = [
    batch_of([[1]]),
    batch_of([[0]]),
    batch_of(np.ones((1, 7))),
    batch_of(np.ones((3, 1))),
    batch_of([[0, 0, 1], [0, 1, 1], [1, 1, 1], [0, 0, 0]]),
    batch_of([[1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0]]),
    batch_of([[0, 1, 0, 1, 1], [1, 0, 0, 0, 1]]),
    batch_of(np.tri(LONGEST)),
    batch_of(np.tri(LONGEST)[:, ::-1]),
]
"""One token, none, no padding, either side, holes, every length."""


def assert_same_vectors(got: np.ndarray, expected: np.ndarray) -> None:
    """Within 1e-5, every row's cosine at least 1 - 1e-6, and zeros where there was no token."""
    assert got.dtype == np.float32 and got.shape == expected.shape
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    a, b = got.astype(np.float64), expected.astype(np.float64)
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    assert ((a * b).sum(-1) >= (1 - 1e-6) * norms).all()


styles = st.builds(
    Style,
    block=st.sampled_from(["post", "pre", "parallel"]),
    feed_forward=st.sampled_from(["plain", "split", "gated"]),
    attention=st.sampled_from(["operator", "products"]),
    position=st.sampled_from(["none", "table", "rotary", "rotary2d", "bias", "bias3d"]),
    grouped=st.booleans(),
    fused=st.booleans(),
    behind=st.sampled_from([None, 0, 2]),
    ahead=st.sampled_from([None, 0, 3]),
    mask=st.sampled_from(["add", "where"]),
    layers=st.integers(1, 2),
)
