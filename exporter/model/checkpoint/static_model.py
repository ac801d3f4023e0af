"""Static models: a vector for each token of the vocabulary, and their mean. No layer, no attention, no special tokens.

Two kinds of folders hold one. sentence-transformers' StaticEmbedding takes the mean of all tokens. model2vec leaves out
the token for what its vocabulary lacks: its row becomes zeros here, which, once the vector is normalised, is the same.

Source: sentence-transformers, `StaticEmbedding`; model2vec, `StaticModel.encode`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import safetensors
from tokenizers import Tokenizer

from exporter.model.checkpoint.head import read_head
from exporter.model.checkpoint.json_object import read_optional_object
from exporter.model.checkpoint.library_config import read_library_config
from exporter.model.checkpoint.modules_json import ModuleKind, read_modules
from exporter.model.checkpoint.weight_files import corrupt, require_finite
from exporter.spec.model import STATIC, ModelSpec, Source
from exporter.spec.origin import Trust
from graphs.pooling.head import Head, Normalize
from graphs.pooling.strategy import PoolingMode
from poolfold.errors import CheckpointError, first_line
from poolfold.manifest import Text, TokenizerReading

_WEIGHTS, _TOKENIZER = "model.safetensors", "tokenizer.json"
_LIBRARYS, _MODEL2VECS = "embedding.weight", "embeddings"
"""Names of the table: sentence-transformers' and model2vec's."""
_DTYPES = {
    "F64": ir.DataType.DOUBLE,
    "F32": ir.DataType.FLOAT,
    "F16": ir.DataType.FLOAT16,
    "BF16": ir.DataType.BFLOAT16,
    "I8": ir.DataType.INT8,
    "I64": ir.DataType.INT64,
    "I32": ir.DataType.INT32,
}
"""Of tables, weights and mappings, by safetensors' names."""
_MODEL2VECS_LIMIT = 512
"""Tokens of a text, where its config.json has no max_length."""
_LIMIT = 2048
"""Where nothing limits a text; --max-seq-length may be more. Sums of fp32 lose digits with their length."""


@dataclass(frozen=True)
class Table:
    """Vectors of tokens, float32 [vocab, dim].

    of_model2vec: whether the file is model2vec's, whose library leaves out unknown tokens.
    """

    vectors: npt.NDArray[np.float32]
    of_model2vec: bool


def static_folder(folder: Path) -> Path | None:
    """Where the table of a static model lies; None for a model that is none."""
    if (folder / "modules.json").is_file():
        first = read_modules(folder)[0]
        return first.folder if first.kind is ModuleKind.STATIC else None
    return folder if read_optional_object(folder / "config.json").get("model_type") == "model2vec" else None


def read_static(source: Source, folder: Path, trust: Trust, longest: int | None) -> ModelSpec:
    """Read a static model.

    Args:
        source: where the model lies.
        folder: where its table and its tokenizer lie.
        trust: what reading it may do.
        longest: no text may have more tokens; None for the model's own limit, or 2048.

    Raises:
        CheckpointError: a file is missing, damaged or does not fit, or a vector would not be the library's.
    """
    table, (tokenizer, cut, side) = read_table(folder), _read_tokenizer(folder)
    rows, dim = table.vectors.shape
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    if largest >= rows:
        raise CheckpointError(
            f"{folder}: the tokenizer has ids up to {largest}, the table has {rows} rows. Take both from one model."
        )
    head = _head(source.folder, folder, dim, trust)
    if table.of_model2vec:
        cut = read_optional_object(folder / "config.json").get("max_length", _MODEL2VECS_LIMIT)
        if cut is not None and (type(cut) is not int or cut < 1):
            raise CheckpointError(f"{folder / 'config.json'} has max_length {cut!r}; expected a number of tokens.")
        unknown = unknown_id(tokenizer)
        if unknown is not None and Normalize() not in head:
            raise CheckpointError(
                f"{folder} is of model2vec, which leaves out {tokenizer.id_to_token(unknown)!r}, and nothing says that "
                "its vectors are normalised: a graph would give them another length. Load it by model2vec with "
                "normalize=True, which changes no cosine, and save it again."
            )
    library = read_library_config(source.folder)
    limit = longest or cut or _LIMIT
    return ModelSpec(
        source=source,
        transformer=folder.resolve(),
        model_type=STATIC,
        hidden_size=dim,
        num_layers=0,
        vocab_size=rows,
        trained=(PoolingMode.MEAN,),
        head=head,
        text=Text(
            max_seq_length=limit if cut is None else min(limit, cut),
            padding_side="right",
            truncation_side=side,
            pad_token_id=_padding(tokenizer),
            lower_case=False,
            prompts=library.prompts,
            default_prompt_name=library.default_prompt_name,
        ),
        similarity=library.similarity,
        tokenizer_json=tokenizer.to_str(),
        tokenizer=TokenizerReading(source="file", texts=0, differ=0, example=None),
        token_types=False,
        trust=trust,
        parameters=rows * dim,
        zero_ids=frozenset(np.flatnonzero(~table.vectors.any(axis=1)).tolist()),
    )


def read_table(folder: Path) -> Table:
    """The vectors as they are averaged: model2vec's mapping and weights of tokens multiplied in, unknown tokens zeros.

    Raises:
        CheckpointError: there is none, it is damaged, or it holds something else.
    """
    path = folder / _WEIGHTS
    if not path.is_file():
        raise CheckpointError(
            f"{folder} has no {_WEIGHTS}, which has a static model's vectors. Save the model with it."
        )
    try:
        stored = safetensors.deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except (safetensors.SafetensorError, OSError) as error:
        raise corrupt(path, error) from error
    tensors: dict[str, npt.NDArray[Any]] = {
        name: np.frombuffer(entry["data"], _DTYPES[entry["dtype"]].numpy()).reshape(entry["shape"])
        for name, entry in stored
        if entry["dtype"] in _DTYPES
    }
    of_model2vec = _MODEL2VECS in tensors
    table = tensors.get(_MODEL2VECS if of_model2vec else _LIBRARYS)
    if table is None or table.ndim != 2:
        names = ", ".join(f"{name} ({entry['dtype']})" for name, entry in sorted(stored)) or "nothing"
        raise CheckpointError(
            f"{path} has {names}; expected {_LIBRARYS} or {_MODEL2VECS}, [vocab, dim], in {', '.join(_DTYPES)}."
        )
    # model2vec gives vectors in the table's own 16 bits; these are not rounded.
    vectors = table.astype(np.float32)
    require_finite(path, "the table", int((~np.isfinite(vectors)).sum()), vectors.size)
    if (mapping := tensors.get("mapping")) is not None:
        if not len(mapping) or mapping.min() < 0 or mapping.max() >= len(vectors):
            raise CheckpointError(f"{path} maps tokens beyond its {len(vectors)} vectors. Save the model again.")
        vectors = vectors[mapping]
    if (weights := tensors.get("weights")) is not None:
        if len(weights) != len(vectors):
            raise CheckpointError(f"{path} has {len(weights)} weights for {len(vectors)} tokens. Save the model again.")
        vectors = vectors * weights.astype(np.float32)[:, None]
    unknown = unknown_id(_read_tokenizer(folder)[0]) if of_model2vec else None
    if unknown is not None and unknown < len(vectors):
        vectors = vectors.copy()
        vectors[unknown] = 0.0
    return Table(vectors, of_model2vec)


def unknown_id(tokenizer: Tokenizer) -> int | None:
    """The id of what the vocabulary lacks, as model2vec finds it; None where there is none."""
    model = json.loads(tokenizer.to_str())["model"]
    if model["type"] == "Unigram":
        found = model.get("unk_id")
        return found if isinstance(found, int) else None
    token = model.get("unk_token")
    return None if token is None else tokenizer.token_to_id(token)


def _read_tokenizer(folder: Path) -> tuple[Tokenizer, int | None, str]:
    """The tokenizer without special tokens around a text, as both libraries call it; where it cuts a text, which side.

    sentence-transformers leaves the file's own truncation as it is; model2vec sets its own.
    """
    path = folder / _TOKENIZER
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {_TOKENIZER}, by which a static model reads texts. Restore it.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content["post_processor"] = None
        tokenizer: Tokenizer = Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # the library raises a bare Exception
        raise CheckpointError(f"{path} cannot be read: {first_line(error)}. Save the model again.") from error
    cut = tokenizer.truncation or {}
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, cut.get("max_length"), cut.get("direction", "right")


def _padding(tokenizer: Tokenizer) -> int:
    """An id to pad with; any will do, since padding is masked."""
    found = (tokenizer.token_to_id(token) for token in ("[PAD]", "<pad>"))
    return next((number for number in found if number is not None), 0)


def _head(root: Path, folder: Path, dim: int, trust: Trust) -> Head:
    """What follows the mean: the modules after it, or model2vec's own word where there are none."""
    if (root / "modules.json").is_file():
        return read_head(root, width=dim, allow_pickle=trust.allow_pickle)
    return (Normalize(),) if read_optional_object(folder / "config.json").get("normalize") else ()
