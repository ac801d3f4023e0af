"""Artifacts by a directory or a hub id."""

from __future__ import annotations

import glob
import os
from pathlib import Path

from poolfold.errors import ArtifactError, InputError
from poolfold.hub.download import HUB_ID, download, download_manifest
from poolfold.manifest import MANIFEST_NAME, read_manifest


def find_artifact(artifact: str | Path, revision: str | None = None) -> Path:
    """The directory of an artifact. One that exists wins over a hub id.

    Args:
        artifact: a directory, or a hub id: `owner/name`.
        revision: branch, tag or commit of a hub id.

    Raises:
        InputError: a revision of a directory.
        ArtifactError: it is not here and cannot be downloaded, or the hub's model is no artifact.
    """
    here = os.path.lexists(artifact)
    if not here and HUB_ID.fullmatch(str(artifact)):
        return _with_files(str(artifact), download_manifest(str(artifact), revision))
    if revision is not None:
        raise InputError(
            f"{artifact} is {'a directory' if here else 'no hub id'}, and revision {revision!r} was given. "
            "Leave the revision out, or pass a hub id: owner/name."
        )
    return Path(artifact)


def lasting_name(artifact: str | Path, directory: Path) -> tuple[str, str | None]:
    """What finds the same artifact from any other place: its directory, or its hub id and the commit.

    Args:
        artifact: what the user named.
        directory: its directory, from `find_artifact`.
    """
    if directory == Path(artifact):
        return str(directory.absolute()), None
    return str(artifact), directory.name


def require_own_place(artifact: str | Path, place: Path, output: object) -> None:
    """Refuse to write a result into the hub's cache.

    Args:
        artifact: what the user named.
        place: its directory, from `find_artifact`.
        output: where the result goes; None for over the artifact.

    Raises:
        InputError: the artifact is the hub's, and there is no other place.
    """
    if output is None and place != Path(artifact):
        raise InputError(f"{artifact} is a hub id, so that there is no place for the result. Name one with -o.")


def artifact_or_none(model: str, revision: str | None = None, *, files: bool = True) -> Path | None:
    """The directory of an artifact, as `find_artifact`; None where `model` is something else, or cannot be had.

    Args:
        model: a directory, or a hub id.
        revision: branch, tag or commit of a hub id.
        files: False downloads the manifest alone.

    Raises:
        ArtifactError: the hub's model is an artifact, and its files cannot be downloaded.
    """
    if os.path.lexists(Path(model).expanduser()):
        folder = Path(model).expanduser()
        return folder if (folder / MANIFEST_NAME).is_file() else None
    try:
        folder = download_manifest(model, revision)
    except ArtifactError:
        return None
    return _with_files(model, folder) if files else folder


def _with_files(name: str, folder: Path) -> Path:
    """The snapshot with the files that its manifest lists; others are not downloaded."""
    paths = [file.path for file in read_manifest(folder).files]
    if not all((folder / path).exists() for path in paths):
        # At the commit of the manifest, whatever was pushed meanwhile.
        download(name, folder.name, [glob.escape(path) for path in paths], error=ArtifactError)
    return folder
