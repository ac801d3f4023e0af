"""What a service takes, with every default. The command line reads them here, without the libraries of the rest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a service takes.

    texts: of a request.
    bytes: of a request's body.
    tokens: of a request, prompts included.
    waiting: tokens of all requests that wait; beyond it a request is refused.
    seconds: that a request may take.
    truncate: whether texts of more tokens than the model reads are cut where a request does not say.
    connections: at once.
    """

    texts: int = 2048
    bytes: int = 2**23
    tokens: int = 2**18
    waiting: int = 2**18
    seconds: float = 60.0
    truncate: bool = True
    connections: int = 4096
