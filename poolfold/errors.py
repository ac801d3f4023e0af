"""Every error that a user can see, each with the exit code of the command line.

    PoolfoldError                 70  (never raised itself)
    ├── CheckFailed                1  it ran, and a check failed
    ├── InputError                 2  bad input or usage
    │   ├── CheckpointError        2  a checkpoint that cannot be read, or not be folded
    │   └── ArtifactError          2  an artifact that cannot be used
    │       └── ArtifactDiffers    2  an artifact that is not what its manifest says; `verify` ends with 1
    └── TargetUnavailable          3  the target, or a library it needs, is not here
        └── OutOfMemory            3  a run takes more memory than this process may have

A message says what was got, what was expected and what to do. Any other exception is a bug: exit code 70.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname


class PoolfoldError(Exception):
    """Base of every error poolfold raises on purpose."""

    exit_code = 70


class CheckFailed(PoolfoldError):
    """A check ran and its result is outside its limit."""

    exit_code = 1


class InputError(PoolfoldError, ValueError):
    """An argument, a file or a text that cannot be used."""

    exit_code = 2


class CheckpointError(InputError):
    """A checkpoint that cannot be read, or holds something poolfold cannot fold."""


class ArtifactError(InputError):
    """A directory that is no artifact, or an artifact that cannot be read or does not have what was asked for."""


class ArtifactDiffers(ArtifactError):
    """An artifact that differs from its manifest, or whose manifest was changed.

    problems: what differs, a line each.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        """Keep the lines beside the message."""
        super().__init__(message)
        self.problems = tuple(problems)


class TargetUnavailable(PoolfoldError):
    """A target, or a library that it needs, is not available on this machine."""

    exit_code = 3


class OutOfMemory(TargetUnavailable):
    """A run takes more memory than this process may have.

    asked: bytes that the runtime asked for at once, where it says so.
    """

    def __init__(self, message: str, asked: int | None = None) -> None:
        """Keep the size beside the message."""
        super().__init__(message)
        self.asked = asked


def is_failure(error: BaseException) -> bool:
    """Whether an error tells of a fault: an `Exception`, or the panic of a library in Rust, which is none."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def first_line(error: BaseException) -> str:
    """The first line of the innermost cause of an error; libraries put long advice after it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def how_to_install(extra: str) -> str:
    """The command that adds an extra to this install, from where poolfold came: a checkout, as long as it is there."""
    import json
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        origin = json.loads(distribution("poolfold").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:  # run from its sources
        origin = {}
    folder = Path(url2pathname(urlsplit(origin.get("url", "")).path))
    if origin.get("url", "").startswith("file:") and folder.is_dir():
        editable = "-e " if origin.get("dir_info", {}).get("editable") else ""
        return f"pip install {editable}'{folder}[{extra}]'"
    return f"pip install '.[{extra}]' in a checkout of poolfold"
