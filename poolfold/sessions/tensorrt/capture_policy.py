"""Which shapes deserve a captured CUDA graph: those that come again, and only so many. Pure."""

from __future__ import annotations

from collections.abc import Hashable

_REMEMBERED = 4096


class CapturePolicy:
    """Says of each run's shape whether to capture it now. For one thread."""

    def __init__(self, most: int) -> None:
        """Allow `most` captures in all; 0 for none."""
        self._left = most
        self._seen: set[Hashable] = set()

    def note(self, shape: Hashable) -> bool:
        """Note a run of a shape without a graph; whether to capture it: when it comes again, while any is left."""
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
        """Capture nothing any more: the library cannot."""
        self._left = 0
        self._seen.clear()
