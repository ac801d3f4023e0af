"""sentence-transformers: `SentenceTransformer(modules=[Poolfold("DIR")])`. Needs it, and so PyTorch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, Unpack

import torch
from sentence_transformers.base.modules import InputModule

from poolfold.errors import ArtifactError
from poolfold.hub import find_artifact
from poolfold.integrations.embedder import Options, open_embedder
from poolfold.manifest import MANIFEST_NAME, read_manifest

_FOLDER, _OPENED = "artifact", "poolfold.json"
"""Of a saved model: the whole artifact, and how it is opened."""


class Poolfold(InputModule):
    """An artifact as the only module of a SentenceTransformer: texts in, `sentence_embedding` out.

    Without a prompt of the SentenceTransformer's own, `encode`, `encode_query` and `encode_document` take the
    artifact's. A saved model has a copy of the artifact in it; `SentenceTransformer(DIR, trust_remote_code=True)` loads
    it, since the library imports no module but its own without being told to.
    """

    def __init__(self, artifact: str | Path, **options: Unpack[Options]) -> None:
        """Open the artifact; options: those of `poolfold.load`, and `Options`."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._embedder = open_embedder(artifact, **options)
        # A SentenceTransformer asks its parameters for the device.
        self._device = torch.nn.Parameter(torch.zeros(0), requires_grad=False)

    @property
    def max_seq_length(self) -> int:
        """Tokens that are read of a text; may be lowered."""
        return self._embedder.encoder.max_seq_length

    @max_seq_length.setter
    def max_seq_length(self, tokens: int) -> None:
        self._embedder.encoder.max_seq_length = tokens

    @property
    def tokenizer(self) -> Any:  # type: ignore[override]  # one that reads as the graph wants it
        """The artifact's."""
        return self._embedder.encoder.tokenizer

    def get_embedding_dimension(self) -> int:
        """Values of a vector."""
        return self._embedder.dim

    get_sentence_embedding_dimension = get_embedding_dimension

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Keep texts as they are: the artifact has its own tokeniser."""
        return {"texts": list(inputs), "prompt": prompt, "task": kwargs.get("task")}

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Add `sentence_embedding`, float32 [texts, dim]."""
        embedder, texts, prompt = self._embedder, features["texts"], features["prompt"]
        if features["task"] == "query" and not prompt:
            vectors = embedder.queries(texts)
        elif features["task"] == "document" and not prompt:
            vectors = embedder.documents(texts)
        else:
            kwargs = embedder.config.get("encode_kwargs") or {}
            vectors = embedder.encoder.encode(texts, **{"batch_size": max(len(texts), 1)} | kwargs, prompt=prompt)
        return features | {"sentence_embedding": torch.from_numpy(vectors)}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        """Copy the artifact, and write how it is opened."""
        config, place = dict(self._embedder.config), Path(output_path)
        folder = find_artifact(config.pop("artifact"), config.pop("revision", None))
        for path in (MANIFEST_NAME, *(file.path for file in read_manifest(folder).files)):
            (place / _FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / path, place / _FOLDER / path)
        (place / _OPENED).write_text(json.dumps(config, indent=2) + "\n")

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", *_: Any, **kwargs: Any) -> Self:
        """Open the artifact of a saved model, of a folder or the hub."""
        names = ("token", "cache_folder", "revision", "local_files_only")
        hub = {name: kwargs[name] for name in names if name in kwargs}
        opened = cls.load_file_path(model_name_or_path, _OPENED, subfolder=subfolder, **hub)
        folder = cls.load_dir_path(model_name_or_path, subfolder=(Path(subfolder) / _FOLDER).as_posix(), **hub)
        if opened is None or folder is None:
            raise ArtifactError(
                f"{model_name_or_path} has no {_OPENED} or no folder {_FOLDER}, expected what `save` wrote. Save the "
                "model again."
            )
        return cls(folder, **json.loads(Path(opened).read_text()))
