"""A manifest, whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from poolfold.manifest.contents import (
    USUAL_RUN_MEMORY,
    Engine,
    File,
    FoldedPrompt,
    Graph,
    Model,
    Portable,
    RunMemory,
    Strategy,
    Text,
)
from poolfold.manifest.record import Record
from poolfold.manifest.reports import Latency, Parity


class Manifest(Record, frozen=True):
    """An artifact, whole. `environment` is a report for people and scripts: plain JSON.

    `validated_up_to`: tokens of the longest text that was checked; None before 0.5, where that is the model's limit.
    `portable`: what other programs load; None before 0.9, and in the layout `poolfold`.
    `latency_left_out`: what was not measured, and why: workload, or `latency` or `padding` for a whole stage -> reason.
    """

    schema_version: int
    poolfold_version: str
    created: str
    command: tuple[str, ...]
    model: Model
    strategies: tuple[Strategy, ...]
    graphs: tuple[Graph, ...]
    engines: tuple[Engine, ...]
    files: tuple[File, ...]
    parity: tuple[Parity, ...]
    latency: tuple[Latency, ...]
    environment: Mapping[str, Any]
    latency_left_out: dict[str, str] = msgspec.field(default_factory=dict)
    folded_prompts: tuple[FoldedPrompt, ...] = ()
    validated_up_to: int | None = None
    portable: Portable | None = None

    @property
    def text(self) -> Text:
        """The model's, with the prompts that were given when it was exported."""
        given = {prompt.name: prompt.text for prompt in self.folded_prompts}
        return msgspec.structs.replace(self.model.text, prompts={**self.model.text.prompts, **given})

    def graph(self, strategy: str, dtype: str) -> Graph | None:
        """The graph of a strategy and a dtype that ONNX Runtime runs, or None."""
        named = (g for g in self.graphs if (g.strategy, g.dtype) == (strategy, dtype))
        return next((graph for graph in named if graph.runs_on("onnxruntime")), None)

    def graph_at(self, path: str) -> Graph | None:
        """The graph one of whose forms is a file."""
        return next((graph for graph in self.graphs if path in graph.files), None)

    def run_memory(self, path: str) -> RunMemory:
        """What a run of the graph one of whose forms is a file takes."""
        graph = self.graph_at(path)
        return (graph and graph.run_memory) or USUAL_RUN_MEMORY

    @property
    def unproven_from(self) -> int | None:
        """Tokens of the shortest text that the model takes and nobody checked; None where all lengths were."""
        proven, limit = self.validated_up_to, self.model.text.max_seq_length
        return None if proven is None or proven >= limit else proven + 1

    def identity(self, strategy: str, dtype: str) -> str:
        """A name for what the vectors of a strategy in a precision depend on, whatever was measured or built since."""
        sums = {file.path: file.sha256 for file in self.files}
        graphs = [g for g in self.graphs if (g.strategy, g.dtype) == (strategy, dtype)]
        paths = {path for graph in graphs for path in (graph.path, graph.weights) if path} or {*sums}
        text = self.text
        read = [text.max_seq_length, text.padding_side, text.truncation_side, text.pad_token_id, text.include_prompt]
        prompts = [sorted(text.prompts.items()), text.default_prompt_name]
        content = [strategy, dtype, read, prompts, sorted(sums.get(path, "") for path in paths | {"tokenizer.json"})]
        return hashlib.sha256(msgspec.json.encode(content)).hexdigest()

    def digest(self, *paths: str | None) -> str:
        """A name for the content of some files of the artifact, from the SHA-256 of each."""
        sums = {file.path: file.sha256 for file in self.files}
        return hashlib.sha256(" ".join(sums.get(path, "") for path in paths if path).encode()).hexdigest()
