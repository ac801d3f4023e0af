"""MTEB: `mteb.evaluate(PoolfoldModel("DIR"), tasks)`. Needs mteb, and so PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from mteb.types import PromptType

from poolfold.integrations.embedder import open_embedder


class PoolfoldModel(AbsEncoder):
    """An artifact that MTEB evaluates. Results are kept under the name of its checkpoint and the artifact's identity.

    A task's prompt is that of `prompts` or the artifact called `TASK-query`, `TASK`, `TYPE-query`, `TYPE` or `query`,
    in this order (`document` for what is searched), as in MTEB's wrapper of sentence-transformers; with an
    `instruction_template` it is made of MTEB's instruction for the task.
    """

    def __init__(
        self,
        artifact: str | Path,
        revision: str | None = None,
        *,
        device: str | None = None,
        prompts: Mapping[str, str] | None = None,
        instruction_template: str | None = None,
        instruct_documents: bool = False,
        **options: Any,
    ) -> None:
        """Open the artifact.

        Args:
            artifact: its directory, or hub id.
            revision: of a hub id.
            device: taken for MTEB's sake; `provider` and `gpu` choose one.
            prompts: by names of tasks, types of tasks, or `query` and `document`.
            instruction_template: what stands before a text, with `{instruction}` in it.
            instruct_documents: whether it stands before documents too.
            options: those of `poolfold.load`, and `Options`.
        """
        self._embedder = open_embedder(artifact, **{**options, "revision": revision})
        self.model = self._embedder.encoder
        self._prompts = {**self.model.prompts, **(prompts or {})}
        self.model_prompts = self._prompts  # where MTEB looks
        self.instruction_template = instruction_template
        self._instruct_documents = instruct_documents
        self.mteb_model_meta = self._meta()

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> npt.NDArray[np.float32]:
        """Vectors of a task's texts: float32 [texts, dim]."""
        texts = [text for batch in inputs for text in batch["text"]]
        arguments = {name: kwargs[name] for name in ("batch_size", "show_progress_bar", "precision") if name in kwargs}
        arguments |= self._embedder.config.get("encode_kwargs") or {}
        vectors: npt.NDArray[np.float32] = self.model.encode(
            texts, prompt=self._prompt(task_metadata, prompt_type), **arguments
        )
        return vectors

    def _prompt(self, task_metadata: Any, prompt_type: PromptType | None) -> str | None:
        if self.instruction_template is not None:
            bare = prompt_type == PromptType.document and not self._instruct_documents
            return "" if bare else self.get_task_instruction(task_metadata, prompt_type)
        name = self.get_prompt_name(task_metadata, prompt_type)
        own = {"query": "query_prompt", "document": "document_prompt"}
        given = self._embedder.config.get(own.get(name or "", ""))
        return given or (self._prompts[name] if name else None)

    def _meta(self) -> ModelMeta:
        model, config = self.model.model, self._embedder.config
        source = model.source if "/" in model.source else f"poolfold/{model.source}"
        return ModelMeta(
            loader=None,
            name=source,
            revision=config["identity"],
            release_date=None,
            languages=None,
            n_parameters=None,
            memory_usage_mb=None,
            max_tokens=model.text.max_seq_length,
            embed_dim=self._embedder.dim,
            license=None,
            open_weights=None,
            public_training_code=None,
            public_training_data=None,
            framework=["ONNX"],
            similarity_fn_name=model.similarity,
            use_instructions=any(self._prompts.values()) or self.instruction_template is not None,
            training_datasets=None,
        )
