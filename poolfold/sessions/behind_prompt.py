"""A graph that starts behind a prompt: its keys and values are given, and only what follows them is computed.

Independent of runtimes and of prompts: without one, a batch runs as in any other session.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


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
