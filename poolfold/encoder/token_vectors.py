"""The vectors of the tokens of texts, from a graph that gives them. It is opened when it is first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from poolfold.errors import ArtifactError, CheckFailed, InputError
from poolfold.manifest import RunMemory, Text
from poolfold.sessions.memory import default_memory
from poolfold.tokenise import Budget, batches, pad

Vectors = npt.NDArray[np.float32]


class TokenSession(Protocol):
    """A graph that gives token vectors."""

    def token_vectors(self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> Vectors:
        """Int64 [batch, seq] twice -> float32 [batch, seq, hidden]."""
        ...

    def close(self) -> None:
        """Free it."""
        ...


class TokenVectors:
    """Safe to share between threads."""

    def __init__(self, open_session: Callable[[], TokenSession], hidden: int, run_memory: RunMemory) -> None:
        """Take what opens the graph.

        Args:
            open_session: called once, when vectors are first asked for.
            hidden: values of a token's vector.
            run_memory: what a run of the graph takes.
        """
        self._open, self._hidden, self._run_memory = open_session, hidden, run_memory
        self._lock, self._session = threading.Lock(), None
        self._closed = False

    _session: TokenSession | None

    def of_rows(
        self, rows: Sequence[Sequence[int]], names: Sequence[str], text: Text, batch_size: int, memory: int | None
    ) -> Iterator[tuple[int, Vectors]]:
        """Run rows of ids, those of like length together.

        Args:
            rows: ids of each text.
            names: of each text, for messages.
            text: which side rows are padded on, and with which id.
            batch_size: the most rows in a run.
            memory: bytes that a run may take; None for half of what this process may take.

        Yields:
            The index of a row, and float32 [its tokens, hidden].

        Raises:
            CheckFailed: a vector is not finite.
            PoolfoldError: as of any run.
        """
        session = self._opened()
        budget = Budget(default_memory() if memory is None else memory, self._run_memory)
        for batch in batches([len(row) for row in rows], batch_size, budget):
            ids, mask = pad([rows[index] for index in batch], text.padding_side, text.pad_token_id)
            found = session.token_vectors(ids, mask)
            if found.shape != (*ids.shape, self._hidden) or found.dtype != np.float32:
                raise ArtifactError(
                    f"the graph of token vectors gave {found.dtype} {list(found.shape)}; expected float32 "
                    f"{[*ids.shape, self._hidden]}. Export the model again."
                )
            for place, index in enumerate(batch):
                vectors = found[place][mask[place] > 0]
                if not np.isfinite(vectors).all():
                    raise CheckFailed(
                        f"the vector of a token is not finite (NaN or infinity) in {names[index]}; expected finite "
                        "values. Nothing is returned. Try `poolfold validate` on this text."
                    )
                yield index, vectors

    def _opened(self) -> TokenSession:
        with self._lock:
            if self._closed:
                raise InputError("the encoder is closed; load the artifact again to go on")
            if self._session is None:
                self._session = self._open()
            return self._session

    def close(self) -> None:
        """Free the graph, if it was opened. Closing twice does nothing."""
        with self._lock:
            self._closed = True
            if self._session is not None:
                self._session.close()
