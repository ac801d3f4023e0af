"""An artifact behind another library's interface, and what such a library saves so that it comes back, and no other.

Two embedders of one artifact, opened alike, share its session, as one process may well have a dozen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any, Self, TypedDict, Unpack
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from poolfold.encoder import Encoder
from poolfold.errors import ArtifactError
from poolfold.hub import find_artifact, lasting_name
from poolfold.load import load
from poolfold.manifest import MANIFEST_NAME


class Options(TypedDict, total=False):
    """How an artifact is used: keywords that every class of this room takes.

    identity: `Encoder.identity` of the artifact that it must be; what is saved has it.
    query_prompt, document_prompt: what to put before each; None for the checkpoint's prompts.
    encode_kwargs: further arguments of `encode`, such as `dimensions` or `batch_size`.
    The others are `poolfold.load`'s.
    """

    identity: str | None
    query_prompt: str | None
    document_prompt: str | None
    encode_kwargs: Mapping[str, Any] | None
    strategy: str | None
    target: str
    dtype: str | None
    threads: int | None
    spinning: bool
    provider: str
    gpu: int
    mmap: bool
    verify: bool
    revision: str | None
    memory: int | None


_OWN = ("identity", "query_prompt", "document_prompt", "encode_kwargs")

_shared: WeakValueDictionary[str, Encoder] = WeakValueDictionary()
_opening = Lock()


@dataclass(frozen=True)
class Embedder:
    """Texts to vectors, told apart as queries and documents.

    config: the arguments of `open_embedder` that open it again: plain JSON, with the artifact's identity.
    encoder: with settings of its own.
    dim: length of a vector as it is given.
    """

    config: Mapping[str, Any]
    encoder: Encoder
    dim: int
    _shared: Encoder = field(repr=False)

    def queries(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of questions: [texts, dim]."""
        prompt = self.config.get("query_prompt")
        return self.encoder.encode_query(texts, prompt=prompt, **self._kwargs)

    def documents(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors of what is searched: [texts, dim]."""
        prompt = self.config.get("document_prompt")
        return self.encoder.encode_document(texts, prompt=prompt, **self._kwargs)

    def query(self, text: str) -> list[float]:
        """The vector of one question."""
        return _row(self.queries([text])[0])

    @property
    def _kwargs(self) -> Mapping[str, Any]:
        return self.config.get("encode_kwargs") or {}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled, it is how it was opened."""
        return open_config, (dict(self.config),)

    def __copy__(self) -> Self:
        """It never changes."""
        return self

    def __deepcopy__(self, _: object) -> Self:
        """As `__copy__`: frameworks copy what is configured."""
        return self


def open_embedder(artifact: str | Path, **options: Unpack[Options]) -> Embedder:
    """Open an artifact by its directory or hub id, and see whether the options are right.

    Raises:
        ArtifactError: it is another artifact than `identity` says; else as `load`.
        InputError: an option of `load` or `encode` is wrong.
    """
    chosen: dict[str, Any] = {name: value for name, value in options.items() if name not in _OWN}
    directory = find_artifact(artifact, options.get("revision"))
    name, chosen["revision"] = lasting_name(artifact, directory)
    with _opening:
        shared = _open_once(directory, name, chosen)
    if options.get("identity") not in (None, shared.identity):
        raise ArtifactError(
            f"{artifact} is not the artifact that was saved: other weights, prompts or texts' limits. Its vectors "
            f"cannot be compared with those of before. Expected identity {options['identity']}, got {shared.identity}. "
            "Put the artifact back, or embed everything again with this one."
        )
    own: dict[str, Any] = {name: options.get(name) for name in _OWN} | {"identity": shared.identity}
    own["encode_kwargs"] = dict(own["encode_kwargs"] or {})
    config = {"artifact": name} | {key: value for key, value in {**chosen, **own}.items() if value not in (None, {})}
    opened = Embedder(config, replace(shared), 0, shared)
    return replace(opened, dim=opened.documents([]).shape[1])


def open_config(config: Mapping[str, Any]) -> Embedder:
    """Open what an embedder's `config` names."""
    return open_embedder(**config)


def rows(vectors: npt.NDArray[Any]) -> list[list[float]]:
    """Vectors as lists of Python's floats, as frameworks take them."""
    listed: list[list[float]] = vectors.tolist()
    return listed


def _row(vector: npt.NDArray[Any]) -> list[float]:
    listed: list[float] = vector.tolist()
    return listed


def _open_once(directory: Path, name: str, options: Mapping[str, Any]) -> Encoder:
    """The encoder that others opened alike, while the manifest is what it was."""
    manifest = directory / MANIFEST_NAME
    key = repr((name, sorted(options.items()), manifest.read_bytes() if manifest.is_file() else b""))
    encoder = _shared.get(key)
    if encoder is None:
        _shared[key] = encoder = load(name, **options)
    return encoder
