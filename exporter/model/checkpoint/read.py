"""Read a checkpoint as its author meant it: a sentence-transformers folder of either dialect, or a plain one.

Everything but the transformer's weights, of which only the shapes are read: in the folder, or in the ONNX file that has
them instead. Whatever poolfold cannot keep is refused, never replaced by a default.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from exporter.model.checkpoint.adapter import base_folder
from exporter.model.checkpoint.head import read_head
from exporter.model.checkpoint.library_config import read_library_config
from exporter.model.checkpoint.modules_json import read_modules
from exporter.model.checkpoint.pooling_config import PoolingConfig, read_pooling
from exporter.model.checkpoint.rope import plain_rope
from exporter.model.checkpoint.sequence_limit import max_seq_length
from exporter.model.checkpoint.static_model import read_static, static_folder
from exporter.model.checkpoint.tokenizer import check_artifact_ids, read_tokenizer
from exporter.model.checkpoint.transformer_config import (
    attention_heads,
    attention_window,
    hidden_size,
    load_config,
    matryoshka_dimensions,
    size,
)
from exporter.model.checkpoint.transformer_settings import read_transformer_settings
from exporter.model.checkpoint.weight_files import tensor_shapes, weight_files
from exporter.spec.model import GraphFile, ModelSpec, Source
from exporter.spec.origin import NO_TRUST, TokenizerSource, Trust
from graphs.pooling.head import Head
from graphs.pooling.strategy import PoolingMode
from poolfold.errors import CheckpointError
from poolfold.manifest import Text, listed

log = logging.getLogger(__name__)

_EMBEDDING_TABLE = re.compile(r"(?:.*\.)?(?:word_embeddings?|embed_tokens|tok_embeddings|shared|wte)\.weight")

_INSTRUCTOR = ("hkunlp/instructor-base", "hkunlp/instructor-large", "hkunlp/instructor-xl")
"""Their files do not say that the prompt is left out of the pooling; sentence-transformers knows them by name."""


def read_spec(
    source: Source,
    trust: Trust = NO_TRUST,
    tokenizer_source: TokenizerSource = TokenizerSource.FILE,
    *,
    weights: bool = True,
    longest: int | None = None,
) -> ModelSpec:
    """Read a checkpoint.

    Args:
        source: where it lies.
        trust: read pytorch_model.bin where there is no safetensors file; run the model and tokenizer code that comes
            with the checkpoint.
        tokenizer_source: whose ids to take where tokenizer.json and transformers differ.
        weights: False for a transformer without them: sizes are then what its configuration says.
        longest: no text may have more tokens; None for the checkpoint's own limit.

    Raises:
        CheckpointError: it cannot be read, or holds something that cannot be folded.
    """
    folder = source.folder
    has_modules = (folder / "modules.json").is_file()
    if not has_modules and not any((folder / f"{name}config.json").is_file() for name in ("", "adapter_")):
        raise CheckpointError(
            f"{folder} is no checkpoint: it has neither modules.json nor config.json.{_meant(folder)}"
        )
    if not has_modules:
        _require_not_inside(folder)
    if source.graph is None and (static := static_folder(folder)) is not None:
        return read_static(source, static, trust, longest)
    modules = read_modules(folder) if has_modules else ()
    transformer = modules[0].folder if modules else folder
    own, base = transformer, base_folder(transformer, weights=weights)
    transformer = base or own
    config = load_config(transformer, trust_remote_code=trust.trust_remote_code)
    if getattr(config, "auto_map", None) and not trust.trust_remote_code:
        log.warning(
            "the checkpoint brings code of its own, which is not run; transformers' own %s is. "
            "Pass --trust-remote-code to run the checkpoint's",
            config.model_type,
        )
    settings = read_transformer_settings(own)
    library = read_library_config(folder)
    width = hidden_size(config)
    trained, head, include_prompt = None, Head(), source.name not in _INSTRUCTOR
    if modules:
        pooling = read_pooling(modules[1].folder)
        _check_pooling(pooling, width, modules[1].folder)
        trained, include_prompt = pooling.strategy, include_prompt and pooling.include_prompt
        head = read_head(folder, allow_pickle=trust.allow_pickle)
    shapes: Mapping[str, tuple[int, ...]] = {}
    files: tuple[Path, ...] = ()
    if source.graph is not None:
        shapes = _shapes_of_graph(source.graph, width)
    elif weights:
        files = weight_files(transformer, allow_pickle=trust.allow_pickle)
        shapes = tensor_shapes(transformer)
    tables = {shape[0] for name, shape in shapes.items() if _EMBEDDING_TABLE.fullmatch(name)}
    vocab_size = tables.pop() if len(tables) == 1 else size(config, "vocab_size")
    has_tokenizer = any((own / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    tokenizer = read_tokenizer(
        own if has_tokenizer else transformer,
        vocab_size=vocab_size,
        lower_case=settings.do_lower_case,
        trust_remote_code=trust.trust_remote_code,
        source=tokenizer_source,
        pools_last=trained is not None and PoolingMode.LASTTOKEN in trained,
    )
    limit = max_seq_length(config, shapes, settings.max_seq_length, tokenizer.limit, longest)
    plain_rope(config, limit, transformer)
    text = Text(
        max_seq_length=limit,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        pad_token_id=tokenizer.pad_token_id,
        lower_case=settings.do_lower_case,
        prompts=library.prompts,
        default_prompt_name=library.default_prompt_name,
        include_prompt=include_prompt,
    )
    check_artifact_ids(tokenizer, text, vocab_size)
    return ModelSpec(
        source=source,
        transformer=transformer.resolve(),
        model_type=config.model_type,
        hidden_size=width,
        num_layers=size(config, "num_hidden_layers"),
        vocab_size=vocab_size,
        trained=trained,
        head=head,
        text=text,
        similarity=library.similarity,
        tokenizer_json=tokenizer.json,
        tokenizer=tokenizer.reading,
        token_types=tokenizer.token_types,
        trust=trust,
        adapter=own.resolve() if base else None,
        heads=attention_heads(config),
        window=attention_window(config),
        matryoshka_dimensions=matryoshka_dimensions(config),
        parameters=_parameters(source.graph.shapes if source.graph else shapes, files),
    )


def _parameters(shapes: Mapping[str, tuple[int, ...]], files: Sequence[Path]) -> int:
    """How many weights there are; of pickled ones no more than there are."""
    return sum(math.prod(shape) for shape in shapes.values()) or sum(path.stat().st_size for path in files) // 4


def _meant(folder: Path) -> str:
    """Which folders in it are checkpoints, down to two levels: a hub's cache has them there."""
    names = ("modules.json", "config.json")
    inside = {path.parent for depth in ("*", "*/*") for name in names for path in folder.glob(f"{depth}/{name}")}
    outer = sorted(path for path in inside if not inside & set(path.parents))
    return f" It holds {listed(outer)}. Give one of these folders." if outer else ""


def _require_not_inside(folder: Path) -> None:
    """Refuse the folder of one module, such as 1_Pooling: the checkpoint is the folder above it."""
    whole = folder.resolve().parent
    try:
        modules = read_modules(whole) if (whole / "modules.json").is_file() else ()
    except CheckpointError:  # not to be had whole; its transformer may do
        return
    if folder.resolve() in [module.folder for module in modules]:
        raise CheckpointError(f"{folder} is one module of the checkpoint {whole}. Give that folder.")


def _shapes_of_graph(graph: GraphFile, width: int) -> Mapping[str, tuple[int, ...]]:
    """Shapes of its weights by name; empty where the exporter has not kept the names."""
    if graph.encoder.width not in (None, width):
        raise CheckpointError(
            f"{graph.path} gives token vectors of {graph.encoder.width} values, and config.json has hidden_size "
            f"{width}. Take both from the same model."
        )
    return graph.shapes if any(_EMBEDDING_TABLE.fullmatch(name) for name in graph.shapes) else {}


def _check_pooling(pooling: PoolingConfig, width: int, folder: Path) -> None:
    """Check that a pooling fits the transformer."""
    if pooling.dimension != width:
        raise CheckpointError(
            f"{folder} pools vectors of {pooling.dimension} values; the transformer gives {width}. "
            "Take both from the same checkpoint."
        )
