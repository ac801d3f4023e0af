"""Two forms of one graph in one session; a batch with much padding runs on the form that computes real tokens only.

Independent of runtimes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from poolfold.sessions import Session

FASTER_BELOW = 0.8
"""The share of real tokens below which a batch runs on the padding-free form, where no share was measured."""


class ByPadding:
    """Runs each batch on the faster form. The vectors are the same. Safe to share between threads."""

    def __init__(self, plain: Session, open_padding_free: Callable[[], Session], *, faster_below: float) -> None:
        """Join two forms.

        Args:
            plain: the form for full batches and single texts.
            open_padding_free: opens the padding-free form. Called for the first batch that needs it, so that a service
                without padded batches holds the weights once.
            faster_below: the share of real tokens in a batch below which the padding-free form is faster.
        """
        self._plain = plain
        self._open = open_padding_free
        self._faster_below = faster_below
        self._padding_free: Session | None = None
        self._closed = False
        self._lock = threading.Lock()

    def run(self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Embed a batch: int64 [batch, seq] twice -> float32 [batch, dim].

        Raises:
            InputError: the session is closed.
        """
        share = np.count_nonzero(attention_mask) / attention_mask.size
        session = self._plain if share >= self._faster_below else self._opened()
        return session.run(input_ids, attention_mask)

    def _opened(self) -> Session:
        with self._lock:
            if self._closed:
                return self._plain  # closed too, so its `run` raises
            if self._padding_free is None:
                self._padding_free = self._open()
            return self._padding_free

    def close(self) -> None:
        """Free both forms; a later `run` raises InputError. Closing twice does nothing."""
        with self._lock:
            self._closed = True
            self._plain.close()
            if self._padding_free is not None:
                self._padding_free.close()
