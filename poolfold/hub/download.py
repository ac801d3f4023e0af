"""Models of the hub into its cache, and its errors in a user's words."""

from __future__ import annotations

import importlib.util
import io
import re
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from poolfold.errors import ArtifactError, InputError, how_to_install
from poolfold.manifest import MANIFEST_NAME, similar

HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*", re.ASCII)
"""`owner/name`."""
_PATIENCE_S = 10

_told: ContextVar[Callable[[int, int], None] | None] = ContextVar("told", default=None)
"""Who hears of downloads; None where the library draws bars of its own."""


def download(
    name: str,
    revision: str | None,
    patterns: Sequence[str],
    *,
    ignore: Sequence[str] = (),
    error: type[InputError],
) -> Path:
    """Download a model of the hub, or take it from the cache, where the hub cannot be reached.

    Args:
        name: the hub id.
        revision: branch, tag or commit; None for the default branch.
        patterns: which files, by shell patterns.
        ignore: which of these not.
        error: what to raise.

    Returns:
        A folder whose name is the commit.

    Raises:
        InputError: as `error`, what cannot be downloaded.
    """
    with hub_errors(name, revision, error):
        from huggingface_hub import snapshot_download

        return Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=list(patterns),
                ignore_patterns=list(ignore),
                local_files_only=not reachable(),
                **_bars(),
            )
        )


def download_manifest(name: str, revision: str | None) -> Path:
    """The snapshot of a model, with the manifest of an artifact in it."""
    if not HUB_ID.fullmatch(name):
        raise ArtifactError(f"{name} is no hub id. Expected owner/name.")
    with hub_errors(name, revision, ArtifactError):
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(name, MANIFEST_NAME, revision=revision, local_files_only=not reachable())).parent


def full_name(name: str, revision: str | None = None) -> str:
    """The hub id that a name without an owner means: sentence-transformers' model of that name, where there is one.

    Source: sentence-transformers, which looks there first.
    """
    if "/" in name or importlib.util.find_spec("huggingface_hub") is None:
        return name
    from huggingface_hub import errors as hub
    from huggingface_hub import hf_hub_download

    theirs = f"sentence-transformers/{name}"
    try:
        hf_hub_download(theirs, "config.json", revision=revision, local_files_only=not reachable())
    except hub.LocalEntryNotFoundError:  # before the next: it is one of that kind
        return name
    except (hub.EntryNotFoundError, hub.RevisionNotFoundError):
        return theirs
    except (hub.HFValidationError, hub.HfHubHTTPError, OSError):
        return name
    return theirs


def reachable() -> bool:
    """Whether the hub can be reached. Where it cannot, huggingface_hub would retry what is not cached for 23 s."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE or urllib.request.getproxies():
        return True  # for the library to find out
    hub = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection(
            (hub.hostname, hub.port or (443 if hub.scheme == "https" else 80)), _PATIENCE_S
        ).close()
    except OSError:
        return False
    return True


@contextmanager
def downloads_tell(progress: Callable[[int, int], None]) -> Iterator[None]:
    """Draw no bar for what is downloaded in the block; `progress` is told instead.

    Args:
        progress: called with bytes done and bytes in all, which may still grow, at most ten times a second.
    """
    token = _told.set(progress)
    try:
        yield
    finally:
        _told.reset(token)


def _bars() -> dict[str, Any]:
    """What tells the library how to show a download."""
    told = _told.get()
    if told is None:
        return {}
    tell = told
    from tqdm.auto import tqdm

    done = total = 0

    class Bar(tqdm):  # type: ignore[misc]  # a library without types
        """Tells of bytes: those fetched and those written out are counted by a bar each, and files by a third."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options | {"file": io.StringIO(), "disable": False})

        def display(self, *_: Any, **__: Any) -> None:
            nonlocal done, total
            if self.unit == "B" and self.total:
                done, total = max(done, int(self.n)), max(total, int(self.total))
                tell(done, total)

    # A lock between processes, which nobody needs, would be reported as leaked where this one ends early.
    Bar.set_lock(threading.RLock())
    return {"tqdm_class": Bar}


@contextmanager
def hub_errors(name: str, revision: str | None, error: type[InputError]) -> Iterator[None]:
    """Tell in a user's words why a download failed."""
    at = f"{name} at revision {revision!r}" if revision else name
    try:
        from huggingface_hub import errors as hub
    except ImportError as reason:
        raise error(
            f"{name} is not a folder here; from the Hugging Face hub it needs huggingface_hub, which is not available "
            f"({reason}). Give a folder, or install it: {how_to_install('hub')}"
        ) from None
    try:
        yield
    except hub.HFValidationError:
        raise error(
            f"{name} is neither a folder nor a hub id. Expected a folder that exists, or `organisation/name`."
            f"{similar(Path(name))}"
        ) from None
    except hub.GatedRepoError:
        raise error(
            f"{at} is gated. Accept its terms on its page at huggingface.co, then run `hf auth login`."
        ) from None
    except hub.RepositoryNotFoundError:
        raise error(
            f"{name} is not a folder here, and the hub has no such public model. "
            f"Check the name; for a private model run `hf auth login`.{similar(Path(name))}"
        ) from None
    except hub.RevisionNotFoundError:
        raise error(f"{name} has no revision {revision!r}. Give a branch, a tag or a commit.") from None
    except (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled):
        raise error(
            f"{at} is not a folder here, not in the local cache, and the hub cannot be reached. "
            f"Give a folder, or connect (and unset HF_HUB_OFFLINE).{similar(Path(name))}"
        ) from None
    except hub.EntryNotFoundError:
        raise error(
            f"{at} is not an artifact: it has no {MANIFEST_NAME} on the hub. Expected one that was pushed from a "
            "directory of `poolfold export`."
        ) from None
    except (hub.HfHubHTTPError, OSError) as reason:
        raise error(f"{at} could not be downloaded: {reason}. Try again, or give a folder.") from reason
