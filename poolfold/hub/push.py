"""An artifact to the hub: its files, in one commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from poolfold.errors import ArtifactError, InputError, how_to_install
from poolfold.hub.download import HUB_ID, reachable
from poolfold.manifest import MANIFEST_NAME, Manifest, listed, read_manifest

_CARD = "README.md"
"""The model card, which no manifest lists."""
_LOG_IN = "Run `hf auth login` with a token that may write, or check the name"


def require_may_push(repo: str) -> None:
    """Refuse before the work what could not be pushed after it.

    Raises:
        InputError: no hub id, no hub, or nobody is logged in.
    """
    if not HUB_ID.fullmatch(repo):
        raise InputError(f"{repo} is no hub id. Expected owner/name.")
    with _told(repo):
        from huggingface_hub import HfApi

        HfApi().whoami()


def push(
    directory: Path,
    manifest: Manifest,
    repo: str,
    *,
    revision: str | None = None,
    private: bool = False,
    force: bool = False,
) -> str:
    """Upload an artifact that was verified; the repository is made where there is none.

    Files of an artifact that was there before and that this one lacks are deleted. Others stay, and so does a model
    card that came with no artifact.

    Args:
        directory: the artifact.
        manifest: its own.
        repo: the hub id.
        revision: the branch, made where there is none; None for the default one.
        private: whether a repository that is made is private.
        force: whether files of something else are replaced.

    Returns:
        The commit.

    Raises:
        InputError: no hub id, no hub, no right to write; or the repository holds something else under the same names.
    """
    require_may_push(repo)
    with _told(repo):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        api = HfApi()
        api.create_repo(repo, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo, branch=revision, exist_ok=True)
        there = {*api.list_repo_files(repo, revision=revision)}
        before = _artifact_there(api, repo, revision) if MANIFEST_NAME in there else None
        ours = {MANIFEST_NAME, *(file.path for file in manifest.files)}
        if before is None and not force and (clash := sorted(there & ours)):
            raise InputError(
                f"{repo} holds {listed([Path(path) for path in clash])}, and is no artifact: pushing would replace the "
                "files of another model. Give another repository, or pass --force."
            )
        if (directory / _CARD).is_file() and (before is not None or force or _CARD not in there):
            ours.add(_CARD)
        operations: list[Any] = [CommitOperationAdd(path, directory / path) for path in sorted(ours)]
        operations += [CommitOperationDelete(path) for path in sorted(((before or set()) & there) - ours)]
        message = f"{manifest.model.source}, exported by poolfold {manifest.poolfold_version}"
        done = api.create_commit(repo, operations, commit_message=message, revision=revision)
    return str(done.oid)


def _artifact_there(api: Any, repo: str, revision: str | None) -> set[str] | None:
    """The files of the artifact that the repository holds; None where its manifest is none of ours."""
    try:
        path = Path(api.hf_hub_download(repo, MANIFEST_NAME, revision=revision))
        return {file.path for file in read_manifest(path.parent).files}
    except ArtifactError:
        return None


@contextmanager
def _told(repo: str) -> Iterator[None]:
    """Tell in a user's words why a push failed."""
    try:
        from huggingface_hub import errors as hub
    except ImportError as reason:
        raise InputError(
            f"{repo}: to push needs huggingface_hub, which is not available ({reason}). Install it: "
            f"{how_to_install('hub')}"
        ) from None
    if not reachable():
        raise InputError(f"{repo}: the hub cannot be reached. Connect, and push again.")
    try:
        yield
    except hub.OfflineModeIsEnabled:
        raise InputError(f"{repo}: HF_HUB_OFFLINE is set. Unset it, and push again.") from None
    except hub.LocalTokenNotFoundError:
        raise InputError(f"{repo}: nobody is logged in to the hub. {_LOG_IN}.") from None
    except hub.HfHubHTTPError as reason:
        status = getattr(reason.response, "status_code", None)
        if status in (401, 403):
            raise InputError(f"{repo}: the hub does not let you write there ({status}). {_LOG_IN}.") from None
        raise InputError(f"{repo}: the hub refused ({reason}). Push again.") from reason
    except OSError as reason:
        raise InputError(f"{repo} was not pushed: {reason}. Push again.") from reason
