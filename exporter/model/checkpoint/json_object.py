"""Read the JSON files of a checkpoint, with errors that name the file.

Knows nothing of what the files mean.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from poolfold.errors import CheckpointError


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        CheckpointError: there is no such file, or it holds something else.
    """
    value = _read(path)
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} holds a JSON {type(value).__name__}; expected an object. Restore the file.")
    return value


def read_objects(path: Path) -> list[dict[str, Any]]:
    """A JSON array of objects.

    Raises:
        CheckpointError: there is no such file, or it holds something else.
    """
    value = _read(path)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise CheckpointError(f"{path} holds other JSON than expected: a list of objects. Restore the file.")
    return value


def read_optional_object(path: Path) -> dict[str, Any]:
    """A JSON object, empty where there is no such file.

    Raises:
        CheckpointError: the file holds something else.
    """
    return read_object(path) if path.is_file() else {}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing. Restore the file, or download the checkpoint again.") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}. Download the checkpoint again.") from None
