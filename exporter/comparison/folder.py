"""The folder of a comparison: where it lies, and that nothing else is in it."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from platformdirs import user_cache_path

from exporter.artifact.publish import require_apart
from poolfold.errors import InputError
from poolfold.manifest import MANIFEST_NAME

_OURS = ".poolfold-compare"
"""Says that a folder is a comparison's, from its first moment."""


def comparison_folder(output: Path | None, model: str, data: str) -> Path:
    """Where what is made is kept: the user's choice, or their cache, by model and data.

    Raises:
        InputError: the user's choice holds the model or the data.
    """
    if output is not None:
        require_apart(output, [Path(model), Path(data)])
        return output
    name = hashlib.sha256(f"{Path(model).expanduser()}\n{Path(data).expanduser()}".encode()).hexdigest()[:16]
    return user_cache_path("poolfold") / "compare" / name


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make the folder for the block; take it away again where the block fails before anything was made in it.

    Raises:
        InputError: it is a file, holds other things than an earlier comparison, or cannot be made.
    """
    ours = folder / _OURS
    if (folder / MANIFEST_NAME).is_file() or (folder.is_dir() and any(folder.iterdir()) and not ours.is_file()):
        raise InputError(f"{folder} holds other things than a comparison. Choose another folder with -o.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ours.touch()
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}). Choose another folder with -o.") from None
    try:
        yield
    except BaseException:
        if [path.name for path in folder.iterdir()] == [_OURS]:
            ours.unlink()
            folder.rmdir()
        raise
