"""What `poolfold targets` says of a target. A value; each target fills in its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Availability:
    """Whether a target works on this machine.

    name: as `--target` takes it.
    available: whether its library loads here.
    version: of the library; None where it does not load.
    reason: why it is not available, and what to do; None where it is.
    does: what it can do here, in one phrase.
    """

    name: str
    available: bool
    version: str | None
    reason: str | None
    does: str
