"""The code of a page, to be run as a reader would paste it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
_FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


class Block(NamedTuple):
    """A fenced block: its language, empty for output, and its text."""

    language: str
    text: str


def read_blocks(page: str) -> tuple[Block, ...]:
    """The blocks of a page of the repository, in order."""
    return tuple(Block(*found) for found in _FENCE.findall((ROOT / page).read_text(encoding="utf-8")))
