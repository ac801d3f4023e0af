"""Read the modules after the pooling of a sentence-transformers folder: dense layers, normalisation, truncation."""

from __future__ import annotations

from pathlib import Path

from exporter.model.checkpoint.dense_config import read_dense
from exporter.model.checkpoint.json_object import read_optional_object
from exporter.model.checkpoint.library_config import read_library_config
from exporter.model.checkpoint.modules_json import ModuleKind, check_names, read_modules
from exporter.model.checkpoint.pooling_config import read_pooling
from graphs.pooling.head import Dense, Head, Normalize, Truncate


def read_head(folder: Path, *, width: int | None = None, allow_pickle: bool = False) -> Head:
    """The modules after the pooling, in order, weights included; truncation is last.

    width: values of a static model's vectors; None where a Pooling says how many there are.

    A folder without modules.json, which is not sentence-transformers', has none: an empty tuple.

    Raises:
        CheckpointError: a file is missing or malformed, or modules do not fit each other.
    """
    if not (folder / "modules.json").is_file():
        return ()
    _, *modules = read_modules(folder)
    if width is None:
        pooling = read_pooling(modules.pop(0).folder)
        width = len(pooling.strategy) * pooling.dimension
    head: list[Dense | Normalize | Truncate] = []
    for module in modules:
        match module.kind:
            case ModuleKind.DENSE:
                dense = read_dense(module.folder, width, allow_pickle=allow_pickle)
                width = len(dense.weight)
                head.append(dense)
            case ModuleKind.NORMALIZE:
                path = module.folder / "config.json"
                check_names(read_optional_object(path), path)
                head.append(Normalize())
    truncate_dim = read_library_config(folder).truncate_dim
    if truncate_dim is not None and truncate_dim < width:
        head.append(Truncate(truncate_dim))
    return tuple(head)
