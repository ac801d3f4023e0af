"""The places where people keep an artifact, each with what lies there beside it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from poolfold.manifest import Manifest


def hub_snapshot(folder: Path, _: object, root: Path) -> Path:
    """As the hub's cache has it: a snapshot of links into a folder of blobs."""
    blobs, snapshot = root / "models--o--n/blobs", root / f"models--o--n/snapshots/{'5' * 40}"
    blobs.mkdir(parents=True)
    for source in sorted(path for path in folder.rglob("*") if path.is_file()):
        path, blob = source.relative_to(folder), blobs / hashlib.sha256(source.read_bytes()).hexdigest()
        shutil.copy2(source, blob)
        (snapshot / path).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / path).symlink_to(os.path.relpath(blob, (snapshot / path).parent))
    return snapshot


def local_dir(artifact: Path, manifest: Manifest, root: Path) -> Path:
    """As `snapshot_download(local_dir=...)` leaves it, with a model card."""
    folder = Path(shutil.copytree(artifact, root / "local"))
    for file in manifest.files:
        metadata = folder / ".cache/huggingface/download" / f"{file.path}.metadata"
        metadata.parent.mkdir(parents=True, exist_ok=True)
        metadata.write_text(file.sha256)
    _write(folder, (".cache/huggingface/.gitignore", ".gitattributes", "README.md"))
    return folder


def git_clone(artifact: Path, _: Manifest, root: Path) -> Path:
    """As git leaves it."""
    folder = Path(shutil.copytree(artifact, root / "clone"))
    objects = [f".git/objects/{index:02x}/model.onnx" for index in range(3)]
    _write(folder, (".git/HEAD", ".git/tokenizer.json", *objects, ".gitattributes", "README.md", "LICENSE"))
    return folder


def volume_root(artifact: Path, _: Manifest, root: Path) -> Path:
    """The root of a volume, which a Mac has looked at."""
    folder = Path(shutil.copytree(artifact, root / "volume"))
    (folder / "lost+found").mkdir(mode=0o700)
    _write(folder, (".DS_Store", "._tokenizer.json", "onnx/._mean_fp32.onnx", "onnx/.DS_Store"))
    return folder


def read_only(artifact: Path, _: Manifest, root: Path) -> Path:
    """Without permission to write."""
    folder = Path(shutil.copytree(artifact, root / "read-only"))
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return folder


PLACES: Mapping[str, Callable[[Path, Manifest, Path], Path]] = {
    "hub snapshot": hub_snapshot,
    "local_dir": local_dir,
    "git clone": git_clone,
    "volume root": volume_root,
    "read-only": read_only,
}
"""Name -> writes a copy of an artifact into a new folder below `root`, as that place has it, and returns it."""


def _write(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"not of the artifact: {name}\n")
