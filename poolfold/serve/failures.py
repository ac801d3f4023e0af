"""What went wrong with a request -> a status and a message. Each family of routes has its own way to say it."""

from __future__ import annotations

from dataclasses import dataclass

from poolfold.errors import CheckFailed, InputError, OutOfMemory, PoolfoldError
from poolfold.serve.batcher import Full
from poolfold.serve.models import UnknownModel


@dataclass(eq=False)
class Failure(Exception):
    """An answer that is none.

    status: of HTTP.
    message: what was got, what was expected and what to do.
    retry_after: seconds, where it is worth another try.
    closes: whether the connection ends, since not all of the body was read.
    """

    status: int
    message: str
    retry_after: int | None = None
    closes: bool = False


class TooLong(InputError):
    """A text of more tokens than the model reads, where it may not be cut."""


def failure_of(error: BaseException) -> Failure:
    """What to answer. An error that is none of ours is a bug, and its message stays here: it may hold a text."""
    match error:
        case Failure():
            return error
        case Full():
            return Failure(429, str(error), error.seconds)
        case UnknownModel():
            return Failure(404, str(error))
        case TooLong():
            return Failure(413, str(error))
        case OutOfMemory():
            return Failure(503, str(error), 1)
        case CheckFailed():
            return Failure(424, str(error))
        case InputError():
            return Failure(422, str(error))
        case PoolfoldError():
            return Failure(503, str(error))
        case TimeoutError():
            return Failure(504, "the request took longer than it may (--timeout). Send fewer texts at once.", 1)
    return Failure(500, f"a bug in poolfold: {type(error).__name__}. The log of the service tells where.")
