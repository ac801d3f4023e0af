"""What lies in an artifact's directory and is not listed: a folder of git, a model card, what a system leaves there.

It is never read. What a program could take for a part of the artifact is told apart by its name.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import NamedTuple

from poolfold.manifest import MANIFEST_NAME, Manifest

_FOLDERS = ("onnx", "engines", "openvino")
"""Where loaders look for graphs and engines."""
_GRAPHS = (".onnx", ".ort", ".engine", ".plan", ".xml")
_WEIGHTS = (".bin", ".data", ".onnx_data")
_TEXT = (
    *("added_tokens.json", "config.json", "config_sentence_transformers.json", "merges.txt", "modules.json"),
    *("sentence_bert_config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"),
)
"""What tokenisers and sentence-transformers read, in the artifact's own folder."""


class Others(NamedTuple):
    """What the manifest does not list, by name; a folder ends in `/` and stands for all in it.

    mistakable: a graph, weights, or a file of a tokeniser.
    """

    apart: tuple[str, ...]
    mistakable: tuple[str, ...]


def list_others(directory: Path, manifest: Manifest) -> Others:
    """List what is not part of an artifact. Looks into no folder that holds neither a listed file nor graphs.

    Raises:
        OSError: a folder with listed files cannot be listed.
    """
    listed = {MANIFEST_NAME, *(entry.path for entry in manifest.files)}
    holding = {str(parent) for path in listed for parent in PurePosixPath(path).parents}
    apart: list[str] = []
    mistakable: list[str] = []
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            names = sorted(path.name for path in (directory / folder).iterdir())
        except OSError:
            if (folder or ".") in holding:
                raise
            apart.append(f"{folder}/")
            continue
        for name in names:
            path = f"{folder}/{name}" if folder else name
            if path in listed:
                continue
            if _is_folder(directory, path, path in holding):
                if path in holding or (path.split("/")[0] in _FOLDERS and not name.startswith(".")):
                    pending.append(path)
                else:
                    apart.append(f"{path}/")
            else:
                (mistakable if _is_mistakable(path) else apart).append(path)
    return Others(tuple(sorted(apart)), tuple(sorted(mistakable)))


def _is_folder(directory: Path, path: str, through_links: bool) -> bool:
    """Whether a path is a folder; a link to one counts where it leads to a listed file."""
    whole = directory / path
    try:
        return whole.is_dir() and (through_links or not whole.is_symlink())
    except OSError:  # in a folder that may be listed and not entered
        return False


def _is_mistakable(path: str) -> bool:
    """Whether a program could load a file of this name as a part of the artifact."""
    plain = PurePosixPath(path.lower())
    name = plain.name
    if name.startswith("."):  # what systems and editors keep beside a file
        return False
    if len(plain.parts) == 1:
        return name in _TEXT or name.startswith("vocab.") or name.endswith((*_GRAPHS, ".model"))
    return plain.parts[0] in _FOLDERS and (name.endswith((*_GRAPHS, *_WEIGHTS)) or ".onnx_data" in name)
