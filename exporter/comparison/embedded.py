"""Vectors of a task's texts, each entry's through the loader that ships, kept so that a second run computes no more.

A file of vectors is named after all that they depend on: graph, weights and tokeniser by their hashes, limits, prompts
and texts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from exporter.comparison.entries import Entry
from exporter.comparison.tasks import Part, Task
from poolfold.encoder import Encoder, Ranges
from poolfold.load import open_encoder
from poolfold.sessions.user_cache import write_whole

Matrix = npt.NDArray[np.float32]


def embed_task(
    entry: Entry, dtype: str, task: Task, kept: Path, *, threads: int | None, progress: Callable[[int, int], None]
) -> tuple[Matrix, bool]:
    """The vectors of a task's texts.

    Args:
        entry: whose.
        dtype: one of its precisions.
        task: the data.
        kept: the folder of vectors from earlier runs.
        threads: of the session.
        progress: called with the number of texts done, and of all.

    Returns:
        float32 [texts of all parts, dim], and whether they were computed now.
    """
    path = kept / f"{_key(entry, dtype, task)}.npy"
    total = sum(len(part.texts) for part in task.parts)
    if path.is_file():
        try:
            vectors: Matrix = np.load(path)
        except (ValueError, EOFError, OSError):
            pass  # cut off, or no array: computed anew
        else:
            if vectors.shape == (total, entry.dimensions):
                return vectors, False
    parts: list[Matrix] = []
    with open_encoder(entry.artifact, entry.manifest, entry.strategy, dtype=dtype, threads=threads) as encoder:
        for part in task.parts:
            before = sum(len(rows) for rows in parts)

            def so_far(done: int, before: int = before) -> None:
                progress(before + done, total)

            name = prompt_name(encoder, part)
            parts.append(encoder.encode(part.texts, prompt_name=name, progress=so_far, truncate=True))
    vectors = np.concatenate(parts)
    kept.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda file: np.save(file, vectors))
    return vectors, True


def read_ranges(entry: Entry) -> Ranges | None:
    """What the values of an entry's vectors were when it was exported; None where its artifact does not tell."""
    path = next(s.ranges for s in entry.manifest.strategies if s.name == entry.strategy)
    return None if path is None else Ranges.from_bytes((entry.artifact / path).read_bytes(), entry.dimensions, path)


def prompt_name(encoder: Encoder, part: Part) -> str | None:
    """The first of a part's prompts that the checkpoint has; None for its default."""
    return next((name for name in part.prompts if name in encoder.tokenizer.text.prompts), None)


def _key(entry: Entry, dtype: str, task: Task) -> str:
    sums = {file.path: file.sha256 for file in entry.manifest.files}
    graph = entry.manifest.graph(entry.strategy, dtype)
    assert graph is not None
    parts = json.dumps(task.parts)
    text = json.dumps(msgspec.to_builtins(entry.manifest.model.text))
    named = [sums[graph.path], sums.get(graph.weights or "", ""), sums["tokenizer.json"], text, parts]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()[:32]
