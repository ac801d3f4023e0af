"""A graph that starts behind a prompt: its keys and values are given, and only what follows them is computed.

Independent of runtimes. Without a prompt, a batch runs as in any other session.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from poolfold.errors import ArtifactError
from poolfold.manifest import FoldedPrompt, Manifest
from poolfold.verify.files import OpenFile

Run = Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], npt.NDArray[np.float32]]
"""input_ids, attention_mask int64 [batch, seq], padded on the right -> float32 [batch, dim]."""


@dataclass(frozen=True)
class Folded:
    """A prompt that need not be computed.

    ids: its tokens.
    run: computes what follows them.
    """

    ids: tuple[int, ...]
    run: Run

    def behind(self, rows: Sequence[Sequence[int]]) -> dict[int, Sequence[int]]:
        """What follows the prompt in each row that begins with it, by index.

        A text may merge with the prompt's last token into another one; its row is not among them.
        """
        count = len(self.ids)
        return {
            index: row[count:] for index, row in enumerate(rows) if len(row) > count and tuple(row[:count]) == self.ids
        }


class StatesSession(Protocol):
    """A session of the prompted form."""

    def run(
        self,
        input_ids: npt.NDArray[np.int64],
        attention_mask: npt.NDArray[np.int64],
        prompt_states: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """As `Session.run`; prompt_states is float32 [2 * attentions, heads, prompt, head]."""
        ...

    def close(self) -> None:
        """As `Session.close`."""
        ...


class BehindPrompt:
    """Runs a batch as it is, or behind the states of a prompt. Safe to share between threads."""

    def __init__(self, session: StatesSession, no_states: npt.NDArray[np.float32]) -> None:
        """Take a session of the prompted form.

        Args:
            session: of it.
            no_states: what it is given where there is no prompt: float32 [2 * attentions, heads, 0, head].
        """
        self._session = session
        self._no_states = no_states

    def run(self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Embed a batch: int64 [batch, seq] twice -> float32 [batch, dim].

        Raises:
            InputError: the session is closed.
        """
        return self._session.run(input_ids, attention_mask, self._no_states)

    def run_behind(
        self,
        states: npt.NDArray[np.float32],
        input_ids: npt.NDArray[np.int64],
        attention_mask: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float32]:
        """Embed what follows a prompt, padded on the right; arguments and errors as `run`."""
        return self._session.run(input_ids, attention_mask, states)

    def close(self) -> None:
        """Free the session; a later `run` raises InputError. Closing twice does nothing."""
        self._session.close()


def folded_prompts(
    directory: Path, manifest: Manifest, session: BehindPrompt, open_file: Callable[[Path], OpenFile]
) -> Mapping[str, Folded]:
    """The artifact's folded prompts by their text.

    Raises:
        ArtifactError: a file of states has another size than its shape.
    """
    return {
        prompt.text: Folded(
            prompt.ids, partial(session.run_behind, _states(directory / prompt.path, prompt, open_file))
        )
        for prompt in manifest.folded_prompts
    }


def no_states(manifest: Manifest) -> npt.NDArray[np.float32]:
    """The states of no prompt, float32 [2 * attentions, heads, 0, head]."""
    if not manifest.folded_prompts:
        raise ArtifactError("the manifest has a prompted graph and no folded prompt. Export the model again.")
    shape = list(manifest.folded_prompts[0].shape)
    shape[2:3] = [0]
    return np.zeros(shape, np.float32)


def _states(path: Path, prompt: FoldedPrompt, open_file: Callable[[Path], OpenFile]) -> npt.NDArray[np.float32]:
    data = open_file(path).data
    fits = len(prompt.shape) == 4 and prompt.shape[2] == len(prompt.ids) and len(data) == 4 * math.prod(prompt.shape)
    if not fits or not prompt.ids:
        raise ArtifactError(
            f"{path} has {len(data)} bytes; expected float32 {list(prompt.shape)}, and {len(prompt.ids)} tokens. "
            "Export the model again."
        )
    return np.frombuffer(data, np.float32).reshape(prompt.shape)
