"""Check every file of an artifact against its manifest: no file may be changed, missing, extra or outside.

Compares names, sizes and hashes. Independent of what the files contain.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from poolfold.errors import ArtifactError
from poolfold.manifest import MANIFEST_NAME, File, Manifest, read_manifest

_SHOWN = 10


def verify(directory: str | Path) -> Manifest:
    """Check a whole artifact and return its manifest.

    Raises:
        ArtifactError: the directory is not an artifact, cannot be read, or differs from its manifest; the message
            lists up to ten problems.
    """
    directory = Path(directory)
    manifest = _read(directory)
    try:
        files, problems = _list(directory)
    except OSError as error:
        raise ArtifactError(f"{directory} cannot be read: {error}. Check its permissions.") from None
    problems += _check_entries(directory, manifest, files)
    problems += _check_references(manifest)
    if problems:
        shown = "\n".join(f"  - {problem}" for problem in problems[:_SHOWN])
        more = f"\n  - and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ArtifactError(
            f"{directory} differs from its {MANIFEST_NAME}:\n{shown}{more}\n"
            "Fetch the artifact again, or export the model again."
        )
    return manifest


def describe(directory: Path, path: Path) -> File:
    """The manifest's entry for the file `path`, which lies below `directory`."""
    return File(path=path.relative_to(directory).as_posix(), bytes=path.stat().st_size, sha256=_sha256(path))


def _sha256(path: Path) -> str:
    """SHA-256 of a file in hex digits; the file is read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(directory: Path) -> Manifest:
    """Read the manifest; every failure is an ArtifactError."""
    path = directory / MANIFEST_NAME
    try:
        # Reading a named pipe would block for ever.
        if path.exists() and not path.is_file():
            raise ArtifactError(f"{path} is not a regular file. Fetch the artifact again, or export the model again.")
        return read_manifest(directory)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error}. Check its permissions.") from None


def _list(directory: Path) -> tuple[set[str], list[str]]:
    """The regular files below `directory`, and a problem for every other thing except a non-empty folder."""
    files: set[str] = set()
    problems: list[str] = []
    pending = [directory]
    while pending:
        folder = pending.pop()
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
        if not entries and folder != directory:
            problems.append(f"{_relative(directory, folder)!r}: an empty directory, which the manifest does not know")
        for entry in entries:
            relative = _relative(directory, Path(entry.path))
            if entry.is_symlink():
                problems.append(f"{relative!r}: a symbolic link; expected the file itself (copy with `cp -L`)")
            elif entry.is_dir():
                pending.append(Path(entry.path))
            elif entry.is_file():
                files.add(relative)
            else:
                problems.append(f"{relative!r}: neither a file nor a directory")
    return files, problems


def _relative(directory: Path, path: Path) -> str:
    return path.relative_to(directory).as_posix()


def _check_entries(directory: Path, manifest: Manifest, files: set[str]) -> Iterator[str]:
    """Compare the manifest's entries with the regular files in the directory."""
    listed: set[str] = set()
    for entry in manifest.files:
        if not _is_inside(entry.path):
            yield f"{entry.path!r}: the manifest lists a path that is not plain and relative, below the artifact"
        elif entry.path in listed:
            yield f"{entry.path!r}: listed twice"
        elif entry.path not in files:
            yield f"{entry.path!r}: missing"
        else:
            problem = _compare(directory / entry.path, entry)
            if problem:
                yield f"{entry.path!r}: {problem}"
        listed.add(entry.path)
    for extra in sorted(files - listed - {MANIFEST_NAME}):
        yield f"{extra!r}: an extra file, which the manifest does not list"


def _is_inside(path: str) -> bool:
    """Whether a path in the manifest means one file below the artifact on every system, and not the manifest."""
    plain = PurePosixPath(path)
    return (
        str(plain) == path
        and path not in ("", ".", MANIFEST_NAME)
        and not plain.is_absolute()
        and ".." not in plain.parts
        # A backslash separates, and a colon names a drive or a stream, on Windows.
        and not any(character in path for character in "\\:\0")
    )


def _compare(path: Path, entry: File) -> str | None:
    """How a file differs from its entry; None where it does not."""
    try:
        size = path.stat().st_size
        if size != entry.bytes:
            return f"{size} bytes, expected {entry.bytes}"
        sha256 = _sha256(path)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if sha256 == entry.sha256 else f"changed: SHA-256 {sha256[:12]}..., expected {entry.sha256[:12]}..."


def _check_references(manifest: Manifest) -> Iterator[str]:
    """Each file that a graph or an engine names must be listed, and so hashed."""
    listed = {entry.path for entry in manifest.files}
    named = {path for engine in manifest.engines for path in (engine.path, engine.graph)}
    for graph in manifest.graphs:
        free = None if graph.padding_free is None else graph.padding_free.path
        named |= {path for path in (graph.path, graph.weights, graph.packed, free) if path is not None}
    for path in sorted(named - listed):
        yield f"{path!r}: named by a graph or an engine, and not listed among the files"
