"""Why a path is no artifact, and what was probably meant: a neighbour, the artifact around it or the ones in it."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from poolfold.errors import ArtifactError

MANIFEST_NAME = "manifest.json"
_SHOWN = 3


def no_artifact(directory: Path) -> ArtifactError:
    """The error for a directory without a manifest, or one that is not there."""
    if not os.path.lexists(directory):
        return ArtifactError(
            f"{directory} is not an artifact: it does not exist. Expected a directory from `poolfold export`."
            f"{similar(directory)}"
        )
    lacks = f"it has no {MANIFEST_NAME}" if directory.is_dir() else "it is a file"
    return ArtifactError(f"{directory} is not an artifact: {lacks}. {_advice(directory)}")


def _advice(directory: Path) -> str:
    try:
        around = next((place for place in directory.resolve().parents[:3] if (place / MANIFEST_NAME).is_file()), None)
        inside = sorted(path.parent for depth in ("*", "*/*") for path in directory.glob(f"{depth}/{MANIFEST_NAME}"))
        weights = [*directory.glob("*.safetensors"), *directory.glob("*.bin")]
        # An artifact that has lost its manifest has a modules.json too, beside its graphs.
        listed_as_model = (directory / "modules.json").is_file() and not (directory / "onnx").is_dir()
        is_model = listed_as_model or bool(weights)
    except OSError:  # it may not be read
        around, inside, is_model = None, [], False
    if around is not None:
        return f"It lies in the artifact {around}. Give that directory."
    if inside:
        return f"It holds {listed(inside)}. Give one of these directories."
    if is_model:
        return f"It is a model. Make an artifact of it: `poolfold export {directory} -o ARTIFACT`."
    return "Expected a directory from `poolfold export`."


def similar(path: Path) -> str:
    """`Did you mean ...?`, where something beside a path that is not there has nearly its name; empty otherwise."""
    try:
        names = [entry.name for entry in path.parent.iterdir() if not entry.name.startswith(".")]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=1)
    return f" Did you mean {path.parent / close[0]}?" if close else ""


def listed(paths: list[Path]) -> str:
    """Some of the paths, and how many more."""
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(map(str, paths[:_SHOWN])) + more
