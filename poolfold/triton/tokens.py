"""Texts -> ids and their mask in Triton's Python backend: the step before an engine or a graph in its native backend.

Imported by Triton alone, as `backend` is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import poolfold
from poolfold.load import read_tokenizer
from poolfold.tokenise import pad
from poolfold.triton.backend import artifact_of, failed, read_parameters, read_texts
from poolfold.verify import read_checked


class TritonPythonModel:
    """The artifact's tokeniser."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the tokeniser beside the model."""
        directory = artifact_of(args)
        manifest = read_checked(directory)
        self._tokenizer = read_tokenizer(directory, manifest)
        text, name = manifest.text, read_parameters(args)["prompt_name"]
        self._prompt = text.prompts[name or text.default_prompt_name or ""] if name or text.default_prompt_name else ""

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """A response for each request, padded to its own longest text."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        import triton_python_backend_utils as triton

        texts = read_texts(request)
        if isinstance(texts, Exception):
            return failed(texts)
        try:
            rows = self._tokenizer.ids(texts, self._prompt)
            left_out = self._tokenizer.left_out(self._prompt)
        except poolfold.PoolfoldError as error:
            return failed(error)
        text = self._tokenizer.text
        ids, mask = pad(rows, text.padding_side, text.pad_token_id, left_out=[left_out] * len(rows))
        return triton.InferenceResponse([triton.Tensor("input_ids", ids), triton.Tensor("attention_mask", mask)])
