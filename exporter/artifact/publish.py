"""Publishing: an artifact appears whole, by one rename, or not at all.

Work happens in a hidden directory beside the destination, on the same file system, so that the last step is a rename.
A small watcher process waits for the exporter to end and removes that directory, so that even `kill -9` leaves nothing;
should the watcher be killed too, the next export to the same place clears what is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import glob
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from poolfold.errors import InputError
from poolfold.manifest import MANIFEST_NAME

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}
_WATCH = 'cat > /dev/null; rm -rf -- "$1"; shift; for made; do rmdir -- "$made"; done'


@dataclass(frozen=True)
class Staging:
    """Two empty directories: `directory` will be published, `scratch` will not."""

    directory: Path
    scratch: Path


@contextlib.contextmanager
def staging(destination: Path, *, force: bool, mark: str = MANIFEST_NAME, kind: str = "artifact") -> Iterator[Staging]:
    """Yield an empty directory; publish it as `destination` if the block ends well, remove it otherwise.

    Args:
        destination: the artifact's place; its missing parents are made.
        force: replace a non-empty directory there. It is replaced only after everything has succeeded.
        mark: the file by which what may be replaced is known.
        kind: what that is, for a message.

    Raises:
        InputError: the destination is not empty, is a file, or cannot be written; the disk is full.
    """
    with _disk_errors(destination):
        destination = _followed(destination)
    with _disk_errors(destination), _made_parents(destination.parent) as made:
        _require_free(destination, force, mark, kind)
        _sweep(destination)
        stage = destination.parent / f"{_stage_prefix(destination)}{secrets.token_hex(4)}"
        try:
            stage.mkdir()
        except OSError as error:
            if error.errno not in {*_NOT_ALLOWED, errno.ENOENT}:  # the last: as in /proc
                raise
            raise InputError(
                f"Nothing can be made in {destination.parent} ({error.strerror}). Choose another place with -o."
            ) from None
        with _owned(stage, made):
            place = Staging(stage / "artifact", stage / "scratch")
            place.directory.mkdir()
            place.scratch.mkdir()
            yield place
            _require_free(destination, force, mark, kind)
            _swap(place.directory, destination)


def _followed(destination: Path) -> Path:
    """Follow a link: the directory that it names is what is replaced, on its own file system."""
    if destination.is_symlink() and not destination.exists():
        raise InputError(f"{destination} is a dangling symbolic link. Remove it or choose another directory with -o.")
    return destination.resolve()


def _require_free(destination: Path, force: bool, mark: str, kind: str) -> None:
    """Refuse a destination that would lose something."""
    if destination.exists() and not destination.is_dir():
        raise InputError(f"{destination} is a file; expected a new or empty directory. Choose another with -o.")
    if not destination.is_dir() or not any(destination.iterdir()):
        return
    if not force:
        raise InputError(f"{destination} is not empty. Choose another with -o, or pass --force to replace it.")
    if not (destination / mark).is_file():
        raise InputError(
            f"{destination} is not empty and is no {kind}: it has no {mark}. --force replaces {kind}s only. Choose "
            "another with -o, or empty it yourself."
        )


def require_apart(destination: Path, inputs: Iterable[Path]) -> None:
    """Refuse a destination whose replacement would delete what the export reads.

    Raises:
        InputError: an input that exists lies in the destination, or is it.
    """
    place = destination.resolve()
    for path in inputs:
        if path.exists() and path.resolve().is_relative_to(place) and place.is_dir():
            where = "is" if path.resolve() == place else "lies in"
            raise InputError(f"{path} {where} the destination, which would be replaced. Choose another with -o.")


@contextlib.contextmanager
def _disk_errors(destination: Path) -> Iterator[None]:
    """Turn an OSError of writing into an InputError in a user's words."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise InputError(
                f"No room to write {error.filename or destination} ({error.strerror}). Nothing was published. "
                "Free some space or choose another directory with -o."
            ) from error
        if error.errno in _NOT_ALLOWED:
            raise InputError(
                f"Cannot write {error.filename or destination} ({error.strerror}). "
                "Choose a directory that you may write to with -o."
            ) from error
        raise


@contextlib.contextmanager
def _made_parents(parent: Path) -> Iterator[list[Path]]:
    """Make missing parent directories; take them away again if the block fails."""
    missing = [p for p in (parent, *parent.parents) if not p.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{parent} is not a directory. Choose another place with -o.") from None
    try:
        yield missing
    except BaseException:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


@contextlib.contextmanager
def _owned(stage: Path, made: list[Path]) -> Iterator[None]:
    """Hold the staging directory: locked against a sweep, watched against a kill, removed at the end.

    `made` are parents made for it, the deepest first; the watcher takes away those that stay empty.
    """
    lock = os.open(stage, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    # The watcher's standard input closes when this process ends, however it ends. A session of its own keeps Ctrl-C
    # and a kill of the process group from reaching it.
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", _WATCH, "poolfold-watcher", str(stage), *map(str, made)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.close(lock)
        shutil.rmtree(stage, ignore_errors=True)
        assert watcher.stdin is not None
        watcher.stdin.close()
        watcher.wait()


def _swap(stage: Path, destination: Path) -> None:
    """Put the staged directory in the destination's place, by one rename wherever the system offers it."""
    for file in (p for p in stage.rglob("*") if p.is_file()):
        _flush(file)
    if not destination.exists() or not any(destination.iterdir()):
        stage.replace(destination)
    elif not _exchange(stage, destination):
        # Two renames: a kill between them leaves no directory there.
        old = stage.with_name("old")
        destination.replace(old)
        stage.replace(destination)
    _flush(destination.parent)


def _exchange(stage: Path, destination: Path) -> bool:
    """Swap two directories atomically (Linux, renameat2 with RENAME_EXCHANGE); False where that is not to be had.

    The old artifact is then under the staging name, where the caller removes it.
    """
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    at_fdcwd, rename_exchange = -100, 2
    return bool(renameat2(at_fdcwd, os.fsencode(stage), at_fdcwd, os.fsencode(destination), rename_exchange) == 0)


def _flush(path: Path) -> None:
    """Have the disk hold what the page cache holds: a rename must not outlive the bytes it publishes."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _stage_prefix(destination: Path) -> str:
    """How staging directories for this destination begin; no longer than a file system allows."""
    return f".{destination.name[:64]}.poolfold-"


def _sweep(destination: Path) -> None:
    """Remove staging directories of earlier exports to this place whose process is gone."""
    for left in destination.parent.glob(f"{glob.escape(_stage_prefix(destination))}*"):
        try:
            handle = os.open(left, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(handle)
