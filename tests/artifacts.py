"""A small artifact whose vectors are known exactly: a graph that looks up a table and pools, a word tokeniser.

The table holds small whole numbers, so that sums are exact whatever their order and a batch changes no bit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from poolfold.manifest import (
    MANIFEST_NAME,
    Engine,
    File,
    Graph,
    Manifest,
    Model,
    PaddingFree,
    Profile,
    Range,
    Strategy,
    Text,
    dumps,
)
from poolfold.verify import describe

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "zero", "nan", *(f"w{i}" for i in range(26)))
"""The vocabulary, in id order."""
CLS, SEP, ZERO, NAN = 2, 3, 4, 5
DIM = 8
MAX_SEQ_LENGTH = 16
PROMPTS = {"query": "w1 w2 ", "passage": ""}


def table() -> npt.NDArray[np.float32]:
    """The embedding table, float32 [vocab, dim]: whole numbers, zeros for `zero`, NaN for `nan`."""
    values = np.random.default_rng(7).integers(-64, 65, (len(WORDS), DIM)).astype(np.float32)
    values[ZERO] = 0
    values[NAN] = np.nan
    return values


def expected(texts: Sequence[str], strategy: str = "mean", limit: int = MAX_SEQ_LENGTH) -> npt.NDArray[np.float32]:
    """The vectors that the artifact gives for texts of known words, float32 [texts, dim]."""
    rows = [[CLS, *[WORDS.index(word) for word in text.split()][: limit - 2], SEP] for text in texts]
    vectors = [table()[row].mean(axis=0) if strategy == "mean" else table()[row[0]] for row in rows]
    return np.array(vectors, dtype=np.float32).reshape(-1, DIM)


def tokenizer_json() -> str:
    """A whitespace tokeniser that puts [CLS] and [SEP] around, with a padding and a truncation of its own to undo."""
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    tokenizer.enable_padding(length=128)
    tokenizer.enable_truncation(3)
    return tokenizer.to_str()


def text_values(**changes: Any) -> Text:
    """The manifest's `Text` of the artifact."""
    values = Text(
        max_seq_length=MAX_SEQ_LENGTH,
        padding_side="right",
        truncation_side="right",
        pad_token_id=0,
        lower_case=False,
        prompts=PROMPTS,
        default_prompt_name=None,
    )
    return msgspec.structs.replace(values, **changes)


def model_values(**changes: Any) -> Model:
    """The manifest's `Model` of the artifact."""
    values = Model(
        source="tests/table",
        revision=None,
        model_type="table",
        hidden_size=DIM,
        num_layers=0,
        vocab_size=len(WORDS),
        trained_strategy="mean",
        modules=("transformer", "pooling"),
        dimensions=None,
        similarity="cosine",
        text=text_values(),
    )
    return msgspec.structs.replace(values, **changes)


def write_artifact(
    directory: Path,
    *,
    strategies: Sequence[str] = ("mean",),
    dtypes: Sequence[str] = ("fp32",),
    engines: Sequence[str] = (),
    values: npt.NDArray[np.float32] | None = None,
    token_type_ids: bool = False,
    **changes: Any,
) -> Manifest:
    """Write an artifact into a new directory.

    Args:
        directory: where; made if need be.
        strategies: `mean` (of the unmasked tokens) and `cls` (the first token); `mean` is the trained one.
        dtypes: precisions of the embedding table.
        engines: targets for which to list an engine, per strategy; its file holds no real one.
        values: the embedding table; `table()` by default.
        token_type_ids: whether the graphs take this input, and add it to the vectors.
        changes: fields of the manifest to replace just before it is sealed.
    """
    directory.mkdir(parents=True)
    (directory / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    graphs = []
    for strategy in strategies:
        for dtype in dtypes:
            path, weights = f"onnx/{strategy}_{dtype}.onnx", f"onnx/{strategy}_{dtype}.onnx.data"
            model = _graph(table() if values is None else values, strategy, dtype, token_type_ids=token_type_ids)
            (directory / "onnx").mkdir(exist_ok=True)
            # Axes stay in the graph: ONNX Runtime infers shapes before it reads external data.
            ir.save(model, directory / path, external_data=Path(weights).name, size_threshold_bytes=128)
            graphs.append(_graph_entry(path, weights, strategy, dtype, model))
    listed = [_write_engine(directory, target, strategy) for target in engines for strategy in strategies]
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    manifest = Manifest(
        schema_version=1,
        poolfold_version="0.1.0",
        created="2026-01-01T00:00:00Z",
        command=("poolfold", "export", "tests/table"),
        model=model_values(),
        strategies=tuple(Strategy(name=name, trained=name == "mean", dim=DIM) for name in strategies),
        graphs=tuple(graphs),
        engines=tuple(listed),
        files=tuple(describe(directory, path) for path in paths),
        parity=(),
        latency=(),
        environment={"python": "3.11"},
    )
    return rewrite_manifest(directory, manifest, **changes)


def rewrite_manifest(directory: Path, manifest: Manifest, **changes: Any) -> Manifest:
    """Change fields of a manifest, seal it anew and write it."""
    manifest = msgspec.structs.replace(manifest, **changes)
    (directory / MANIFEST_NAME).write_bytes(dumps(manifest))
    return manifest


def leave_one_form(directory: Path, manifest: Manifest) -> Manifest:
    """Let a padding-free form of the first graph serve every batch of ONNX Runtime; the plain file is then no graph."""
    graph = manifest.graphs[0]
    path = graph.path.replace(".onnx", "_padding-free.onnx")
    (directory / path).write_bytes((directory / graph.path).read_bytes())
    (directory / graph.path).write_bytes(b"not opened")
    free = PaddingFree(path=path, nodes=graph.nodes, faster_below={}, serves_all=("onnxruntime",), status="validated")
    return rewrite_manifest(
        directory,
        manifest,
        graphs=(msgspec.structs.replace(graph, padding_free=free, status="built"), *manifest.graphs[1:]),
        files=(*relist(directory, manifest, graph.path), describe(directory, directory / path)),
    )


def relist(directory: Path, manifest: Manifest, path: str) -> tuple[File, ...]:
    """The manifest's files, with the entry of `path` made true again."""
    return tuple(describe(directory, directory / path) if file.path == path else file for file in manifest.files)


def seal(fields: Any) -> bytes:
    """Any JSON object with a seal that holds, as only a writer of another kind could make it."""
    unsealed = json.dumps({"manifest_sha256": "0" * 64, **fields}, indent=2).encode()
    return unsealed.replace(b"0" * 64, hashlib.sha256(unsealed).hexdigest().encode(), 1)


def _graph(values: npt.NDArray[np.float32], strategy: str, dtype: str, *, token_type_ids: bool) -> ir.Model:
    """Ids and mask, int64 [batch, seq] -> the pooled rows of the table, float32 [batch, dim]."""
    names = ["input_ids", "attention_mask", *(["token_type_ids"] if token_type_ids else [])]
    int64, shape = ir.TensorType(ir.DataType.INT64), ir.Shape(["batch", "seq"])
    inputs = [ir.val(name, shape=shape, type=int64) for name in names]
    stored = values.astype(np.float16 if dtype == "fp16" else np.float32)
    weights = ir.Value(name="table", const_value=ir.tensor(stored, name="table"))
    axis = ir.Value(name="axis", const_value=ir.tensor(np.array([1], dtype=np.int64), name="axis"))
    first = ir.Value(name="first", const_value=ir.tensor(np.array(0, dtype=np.int64), name="first"))
    last = ir.Value(name="last", const_value=ir.tensor(np.array([-1], dtype=np.int64), name="last"))
    nodes: list[ir.Node] = []

    def op(kind: str, *operands: ir.Value, **attributes: Any) -> ir.Value:
        nodes.append(ir.node(kind, operands, attributes=attributes))
        return nodes[-1].outputs[0]

    hidden = op("Cast", op("Gather", weights, inputs[0]), to=ir.DataType.FLOAT)
    if token_type_ids:
        hidden = op("Add", hidden, op("Cast", op("Unsqueeze", inputs[2], last), to=ir.DataType.FLOAT))
    mask = op("Cast", op("Unsqueeze", inputs[1], last), to=ir.DataType.FLOAT)
    # Not a product: a masked NaN must stay out of the sum.
    kept = op("Where", op("Cast", mask, to=ir.DataType.BOOL), hidden, op("Sub", mask, mask))
    if strategy == "cls":
        pooled = op("Gather", kept, first, axis=1)
    else:
        pooled = op("Div", op("ReduceSum", kept, axis, keepdims=0), op("ReduceSum", mask, axis, keepdims=0))
    output = op("Identity", pooled)
    output.name = "sentence_embedding"
    output.dtype = ir.DataType.FLOAT
    output.shape = ir.Shape(["batch", values.shape[1]])
    graph = ir.Graph(
        inputs, [output], nodes=nodes, initializers=[weights, axis, first, last], opset_imports={"": 20}, name=strategy
    )
    return ir.Model(graph, ir_version=10)


def _graph_entry(path: str, weights: str, strategy: str, dtype: str, model: ir.Model) -> Graph:
    return Graph(
        path=path,
        weights=weights,
        strategy=strategy,
        dtype=dtype,
        inputs=tuple(str(value.name) for value in model.graph.inputs),
        output="sentence_embedding",
        opset=20,
        nodes=len(model.graph),
        attention_layers=0,
        attention_ops=0,
        kept_fp32=(),
        padding_free=None,
        packed=None,
        passes={},
        status="validated",
    )


def _write_engine(directory: Path, target: str, strategy: str) -> Engine:
    """List an engine; the file is a placeholder, for what only reads the manifest."""
    path = f"engines/{target}/{strategy}_fp16.engine"
    (directory / path).parent.mkdir(parents=True, exist_ok=True)
    (directory / path).write_bytes(b"engine of " + strategy.encode())
    return Engine(
        path=path,
        target=target,
        strategy=strategy,
        dtype="fp16",
        status="built",
        graph=f"onnx/{strategy}_fp32.onnx",
        form="plain",
        library="tensorrt_rtx",
        library_version="1.7.1.116",
        compute_capabilities=("8.9",),
        version_compatible=False,
        hardware_compatibility="none",
        stripped=False,
        profiles=(Profile(batch=Range(min=1, opt=8, max=32), seq_len=Range(min=2, opt=16, max=16)),),
        contents=None,
        attention_layers=0,
        attention_fused=0,
        build_seconds=1.0,
        warnings=(),
    )
