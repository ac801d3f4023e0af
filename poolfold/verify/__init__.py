"""Check every file of an artifact against its manifest: no file that it lists may be changed, missing or outside.

Compares names, sizes and hashes. Independent of what the files contain.

files      open a file once, so that the bytes that were hashed are the bytes that are used
unlisted   what else lies in the directory: not part of the artifact, or to be mistaken for a part
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Self

from poolfold.errors import ArtifactDiffers, ArtifactError
from poolfold.hub import find_artifact
from poolfold.manifest import MANIFEST_NAME, File, Manifest, loads, no_artifact
from poolfold.verify.files import NotRegularError, OpenFile, open_file
from poolfold.verify.unlisted import list_others

__all__ = ["describe", "open_files", "open_part", "read_checked", "verify"]

_SHOWN = 10
_READERS = 4
"""Threads that hash: one file each, the largest first."""


def verify(directory: str | Path, *, revision: str | None = None) -> Manifest:
    """Check a whole artifact and return its manifest.

    Args:
        directory: the artifact, or its hub id.
        revision: branch, tag or commit of a hub id.

    Raises:
        ArtifactError: the directory is not an artifact, cannot be read, or differs from its manifest; the message
            lists up to ten problems.
    """
    directory = find_artifact(directory, revision)
    manifest = read_checked(directory)
    open_files(directory, manifest)
    return manifest


def describe(directory: Path, path: Path) -> File:
    """The manifest's entry for the file `path`, which lies below `directory`."""
    file = OpenFile(path)
    return File(path=path.relative_to(directory).as_posix(), bytes=file.size, sha256=file.hash())


def read_checked(directory: Path) -> Manifest:
    """Read the manifest, and check that its paths lie in the artifact.

    Raises:
        ArtifactError: it cannot be read, or is not a manifest; a path leads elsewhere.
    """
    path = directory / MANIFEST_NAME
    try:
        file = OpenFile(path)
        file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise no_artifact(directory) from None
    except NotRegularError:
        raise ArtifactError(
            f"{path} is not a regular file. Fetch the artifact again, or export the model again."
        ) from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error}. Check its permissions.") from None
    manifest = loads(bytes(file.data), where=str(path))
    problems = [*_check_paths(manifest), *_check_references(manifest)]
    if problems:
        raise _differs(directory, problems)
    return manifest


def open_files(
    directory: Path,
    manifest: Manifest,
    read: Collection[str] = (),
    mapped: Collection[str] = (),
) -> dict[str, OpenFile]:
    """Check every file that the manifest lists, and keep some of them open.

    Args:
        directory: the artifact.
        manifest: its manifest, from `read_checked`.
        read: paths to hold in memory, as they were hashed.
        mapped: paths to keep open, for mapping.

    Returns:
        The files of `read` and `mapped`, by path.

    Raises:
        ArtifactError: a file differs from its entry or cannot be read, or another file could be mistaken for a part.
    """
    kept: dict[str, OpenFile] = {}

    def check(entry: File) -> _Problem | None:
        try:
            file = OpenFile(directory / entry.path)
            if file.size != entry.bytes:
                return _Problem(f"{entry.path!r}: {file.size} bytes, expected {entry.bytes}")
            if entry.path in mapped:
                file.settle()
            sha256 = file.hash(keep=entry.path in read)
        except (FileNotFoundError, NotADirectoryError):
            return _Problem(f"{entry.path!r}: missing")
        except OSError as error:
            unreadable = isinstance(error, PermissionError)
            return _Problem(f"{entry.path!r}: cannot be read: {error.strerror}", unreadable=unreadable)
        if sha256 != entry.sha256:
            return _Problem(f"{entry.path!r}: changed: SHA-256 {sha256[:12]}..., expected {entry.sha256[:12]}...")
        if entry.path in read or entry.path in mapped:
            kept[entry.path] = file
        return None

    largest_first = sorted(manifest.files, key=lambda entry: entry.bytes, reverse=True)
    with ThreadPoolExecutor(_READERS) as pool:
        checked = dict(zip((entry.path for entry in largest_first), pool.map(check, largest_first), strict=True))
    problems = [problem for entry in manifest.files if (problem := checked[entry.path]) is not None]
    try:
        others = list_others(directory, manifest)
    except OSError as error:
        raise ArtifactError(f"{directory} cannot be read: {error}. Check its permissions.") from None
    problems += [
        _Problem(f"{name!r}: an extra file, which the manifest does not list, and which could be taken for a part")
        for name in others.mistakable
    ]
    if problems:
        raise _differs(directory, problems)
    return kept


def open_part(directory: Path, manifest: Manifest, paths: Collection[str], *, check: bool) -> dict[str, OpenFile]:
    """Open some of the files that a manifest lists, long after the others.

    check: whether their bytes are hashed, as those of the others were.

    Raises:
        ArtifactError: a file differs from its entry, or cannot be read.
    """
    opened: dict[str, OpenFile] = {}
    for entry in manifest.files:
        if entry.path not in paths:
            continue
        file = opened[entry.path] = open_file(directory / entry.path)
        file.settle()
        try:
            same = not check or (file.size, file.hash()) == (entry.bytes, entry.sha256)
        except OSError as error:
            raise ArtifactError(f"{file.path} cannot be read: {error.strerror}. Check its permissions.") from None
        if not same:
            raise _differs(directory, [_Problem(f"{entry.path!r}: changed since it was exported")])
    return opened


class _Problem(str):
    """A line of the message. `unreadable`: nothing is known about the file's content."""

    unreadable: bool

    def __new__(cls, text: str, *, unreadable: bool = False) -> Self:
        """Make a line."""
        line = super().__new__(cls, text)
        line.unreadable = unreadable
        return line


def _differs(directory: Path, problems: list[_Problem]) -> ArtifactError:
    """The error for what is wrong with an artifact."""
    shown = "\n".join(f"  - {problem}" for problem in problems[:_SHOWN])
    more = f"\n  - and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    if all(problem.unreadable for problem in problems):
        return ArtifactError(f"{directory} cannot be read:\n{shown}{more}\nCheck its permissions; nothing is damaged.")
    return ArtifactDiffers(
        f"{directory} differs from its {MANIFEST_NAME}:\n{shown}{more}\n"
        "Fetch the artifact again, or export the model again.",
        problems,
    )


def _check_paths(manifest: Manifest) -> Iterator[_Problem]:
    """Each path that is listed must be plain and below the artifact, and listed once."""
    listed: set[str] = set()
    for entry in manifest.files:
        if not _is_inside(entry.path):
            yield _Problem(
                f"{entry.path!r}: the manifest lists a path that is not plain and relative, below the artifact"
            )
        elif entry.path in listed:
            yield _Problem(f"{entry.path!r}: listed twice")
        listed.add(entry.path)


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


def _check_references(manifest: Manifest) -> Iterator[_Problem]:
    """Each file that a graph, an engine, a prompt or a strategy names must be listed, and so hashed."""
    listed = {entry.path for entry in manifest.files}
    named = {path for engine in manifest.engines for path in (engine.path, engine.graph)}
    for graph in manifest.graphs:
        named |= {*graph.files, *graph.sliced} | ({graph.weights} if graph.weights is not None else set())
    named |= {prompt.path for prompt in manifest.folded_prompts}
    named |= {strategy.ranges for strategy in manifest.strategies if strategy.ranges is not None}
    if manifest.portable is not None:
        named |= {manifest.portable.path} | (
            {manifest.portable.weights} if manifest.portable.weights is not None else set()
        )
    for path in sorted(named - listed):
        yield _Problem(f"{path!r}: named by a graph or an engine, and not listed among the files")
