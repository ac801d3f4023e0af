"""Prompts folded at export: the keys and the values of each, as constants, where the model is causal.

A causal transformer computes the same for a prompt whatever text follows. So a loader need compute the text alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from exporter.artifact.layout import prompt_path
from exporter.host.console import Stage, count
from exporter.model.encoder_session import open_encoder
from exporter.pipeline.recipes import with_grouped_heads
from exporter.spec.choices import behind_prompts, reads_prompts
from exporter.spec.model import ModelSpec
from graphs.files.weights import load_graph
from graphs.ir.names import ATTENTION_MASK, INPUT_IDS
from graphs.pooling.strategy import Strategy
from graphs.prompt.behind_prompt import states_of, why_not
from poolfold.errors import InputError
from poolfold.manifest import FoldedPrompt
from poolfold.tokenise import Tokenizer, shorten

_BEGINNINGS = ("", "a", "The", "what", "1", "\u00e9", "\u4f60", "\u0434")
"""Texts begin in these ways, mostly; a token of the prompt that merges with one of them is not folded."""
_TAIL = 8
"""Tokens behind a prompt that may not change its states."""
_SAME = 1e-4
"""The most that a state may change, of the largest: far more than rounding, far less than another context does."""
_MOST, _ALWAYS = 1 / 8, 2**22
"""Of the encoder's weights, and in bytes: a hundred prompts would else take more than the weights."""


@dataclass(frozen=True)
class Folding:
    """What is folded: the records of the manifest, and the strategies whose graphs take them."""

    prompts: tuple[FoldedPrompt, ...] = ()
    strategies: tuple[Strategy, ...] = ()


def fold_prompts(
    directory: Path,
    spec: ModelSpec,
    encoder: Path,
    strategies: Sequence[Strategy],
    given: Mapping[str, str],
    threads: int | None,
    stage: Stage,
) -> Folding:
    """Write the states of each prompt into the artifact.

    Args:
        directory: the artifact.
        spec: the model, with its own prompts.
        encoder: the clean fp32 encoder, with canonical masks.
        strategies: of the artifact.
        given: the user's prompts, by name; they must fold.
        threads: of the session; None for `default_threads`.
        stage: is told what was folded, and why the rest was not.

    Raises:
        InputError: a prompt of `given` cannot be folded.
    """
    prompts = {name: text for name, text in spec.text.prompts.items() if text} | dict(given)
    fitting = behind_prompts(strategies, include_prompt=spec.text.include_prompt)
    if not fitting:
        return _none(stage, given, reads_prompts(strategies))
    model = with_grouped_heads(load_graph(encoder))
    if (reason := why_not(model.graph)) is not None:
        return _none(stage, given, reason)
    tokenizer = Tokenizer(spec.tokenizer_json, spec.text, spec.vocab_size)
    states = _States(model, encoder, spec, threads)
    left = max(_ALWAYS, int(_MOST * sum(tensor.nbytes for tensor in _weights(model))))
    folded: list[FoldedPrompt] = []
    left_out: list[str] = []
    for name, text in prompts.items():
        if (same := next((other for other in folded if other.text == text), None)) is not None:
            # Loaders go by the text; a name of the user's must be known to them.
            folded += [msgspec.structs.replace(same, name=name)] * (name in given)
            continue
        ids = _constant_ids(text, tokenizer)
        if not ids:
            reason = "no token of it is the same whatever text follows"
        elif (computed := states.of(ids)) is None:
            return _none(stage, given, "the model is not causal: what follows a prompt changes its keys and values")
        elif computed.nbytes > left and name not in given:
            reason = f"{computed.nbytes / 2**20:.1f} MiB more would be too much beside the weights"
        else:
            path = prompt_path(len({prompt.path for prompt in folded}))
            (directory / path).parent.mkdir(exist_ok=True)
            (directory / path).write_bytes(computed.tobytes())
            left -= computed.nbytes
            folded.append(FoldedPrompt(name=name, text=text, ids=ids, path=path, shape=computed.shape))
            continue
        if name in given:
            raise InputError(f"--fold-prompt {name}={shorten(text)}: {reason}. Take another prompt, or leave it out.")
        left_out.append(f"{name}: {reason}")
    told = [f"{p.name} {count(len(p.ids), 'token')}, {4 * np.prod(p.shape) / 2**20:.1f} MiB" for p in folded]
    stage.outcome = "; ".join([*told, *(f"left out {reason}" for reason in left_out)])
    return Folding(tuple(folded), fitting) if folded else Folding()


def _none(stage: Stage, given: Mapping[str, str], reason: str) -> Folding:
    """Nothing is folded; an error if the user asked for it."""
    if given:
        raise InputError(f"--fold-prompt {next(iter(given))}: no prompt can be folded, as {reason}. Leave it out.")
    stage.outcome = f"none is folded: {reason}"
    return Folding()


def _constant_ids(prompt: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    """The first tokens of a text with this prompt, as far as they do not depend on the text."""
    try:
        rows = tokenizer.ids(list(_BEGINNINGS), prompt)
    except InputError:  # one that no text can be given either
        return ()
    same = takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))
    ids = tuple(column[0] for column in same)
    # A token of the text itself must be left.
    return ids if len(ids) < tokenizer.text.max_seq_length else ()


def _weights(model: ir.Model) -> list[ir.TensorProtocol]:
    return [v.const_value for v in model.graph.initializers.values() if v.const_value is not None]


class _States:
    """Computes keys and values with the encoder itself."""

    def __init__(self, model: ir.Model, encoder: Path, spec: ModelSpec, threads: int | None) -> None:
        values = states_of(model)
        self._names = [value.name or "" for value in values]
        self._vocab_size, self._limit = spec.vocab_size, spec.text.max_seq_length
        model.graph.outputs[:] = values
        path = encoder.with_name("prompt_states.onnx")
        ir.save(model, path)
        self._session = open_encoder(path, threads, prepack=False)  # a few short runs

    def of(self, ids: Sequence[int]) -> npt.NDArray[np.float32] | None:
        """float32 [2 * attentions, heads, tokens, head]; None where they depend on what follows."""
        alone = self._run(np.array([ids], np.int64))
        # A table of positions may end with the model's limit.
        count = min(_TAIL, self._limit - len(ids))
        tail = np.random.default_rng(0).integers(0, self._vocab_size, (1, count))
        followed = self._run(np.concatenate([np.array([ids], np.int64), tail], axis=1))[:, :, : len(ids)]
        return alone if np.abs(alone - followed).max() <= _SAME * np.abs(alone).max() else None

    def _run(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        outputs = self._session.run(self._names, {INPUT_IDS: ids, ATTENTION_MASK: np.ones_like(ids)})
        states: npt.NDArray[np.float32] = np.concatenate(outputs)
        return states
