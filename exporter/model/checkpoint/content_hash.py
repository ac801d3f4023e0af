"""A name for what a model was read from: the hash of its files' contents, whatever machine and folder they lie in."""

from __future__ import annotations

import hashlib
from pathlib import Path

from exporter.model.checkpoint.modules_json import ModuleKind, read_modules
from exporter.model.checkpoint.weight_files import weight_files
from exporter.spec.model import ModelSpec

_ROOT = ("modules.json", "config_sentence_transformers.json")
_TRANSFORMER = (
    *("config.json", "adapter_config.json", "adapter_model.safetensors", "sentence_*_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt", "*.model"),
)
"""What transformers and sentence-transformers read, as patterns of file names. A model card is not among them."""


def content_hash(spec: ModelSpec) -> str:
    """SHA-256 over the names and contents of the files that say what the model is, 64 hexadecimal digits.

    Names count from the checkpoint's folder, so that a copy elsewhere has the same hash. For an ONNX file these are the
    file, in place of the weights, and the small files of its folder; `Source.revision` has its external data.
    """
    folder, trust = spec.source.folder.resolve(), spec.trust
    patterns = (*_TRANSFORMER, *(("*.py",) if trust.trust_remote_code else ()))
    paths = {folder / name for name in _ROOT}
    places = {spec.transformer, spec.adapter or spec.transformer}
    paths |= {path for place in places for pattern in patterns for path in place.glob(pattern)}
    modules = read_modules(folder)[1:] if (folder / "modules.json").is_file() else ()
    paths |= {module.folder / "config.json" for module in modules}
    # Of a static model no module but the first has the table, and that is `transformer`.
    weighted = [module.folder for module in modules if module.kind is ModuleKind.DENSE]
    if spec.source.graph is None:
        weighted.append(spec.transformer)
    paths |= {path for place in weighted for path in weight_files(place, allow_pickle=trust.allow_pickle)}
    lines = [f"{_name(path, folder, spec.transformer)} {_sha256(path)}" for path in paths if path.is_file()]
    if spec.source.graph is not None:
        lines.append(str(spec.source.revision))
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _name(path: Path, folder: Path, base: Path) -> str:
    """The path of a file inside the checkpoint, or inside the base model that an adapter has elsewhere."""
    inside = path.is_relative_to(folder)
    return path.relative_to(folder).as_posix() if inside else f"base/{path.relative_to(base).as_posix()}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
