"""Which shapes get a captured CUDA graph: shapes that occur twice, up to a limit. Pure."""

from __future__ import annotations

from collections.abc import Hashable

_REMEMBERED = 4096


class CapturePolicy:
    """Decides for each run's shape whether to capture it now. For one thread."""

    def __init__(self, most: int) -> None:
        """Allow `most` captures in all; 0 for none."""
        self._left = most
        self._seen: set[Hashable] = set()

    def note(self, shape: Hashable) -> bool:
        """Record a run of a shape without a graph; returns whether to capture the shape: on its second run."""
        if self._left == 0:
            return False
        if shape not in self._seen:
            if len(self._seen) >= _REMEMBERED:
                self._seen.clear()
            self._seen.add(shape)
            return False
        self._seen.discard(shape)
        self._left -= 1
        return True

    def stop(self) -> None:
        """Capture nothing from now on, because the library cannot."""
        self._left = 0
        self._seen.clear()
