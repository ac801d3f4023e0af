"""A request's body -> a value, within limits of size and time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from poolfold.serve.failures import Failure

_READ_S = 30.0
"""For a whole body. Who is slower holds a place for nothing."""
_DRAIN_S, _DRAIN_BYTES = 5.0, 2**26
"""How much of a body that is too large is read and thrown away: a client that still sends reads no answer."""
_BODIES = 16
"""Bodies of the largest size that may be held at once."""

_T = TypeVar("_T")


class Bodies:
    """Reads bodies; all that are held at once are bounded too."""

    def __init__(self, most_bytes: int) -> None:
        """Of one body."""
        self._most, self._held = most_bytes, 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request, kind: type[_T]) -> AsyncIterator[_T]:
        """Yield the body as a `kind`; its bytes count as held until the block ends.

        Raises:
            Failure: it is too large, too slow, or no such value.
            ClientDisconnect: the client is gone.
        """
        encoding = request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise Failure(415, f"the body has content-encoding {encoding!r}; expected none. Send JSON as it is.")
        held = 0
        try:
            data, chunks = bytearray(), _chunks(request)
            declared = request.headers.get("content-length", "")
            if declared.isdecimal() and int(declared) > self._most:
                raise await self._too_large(request, chunks)
            try:
                async with asyncio.timeout(_READ_S):
                    async for chunk in chunks:
                        held += len(chunk)
                        self._held += len(chunk)
                        data += chunk
                        if held > self._most:
                            raise await self._too_large(request, chunks)
                        if self._held > _BODIES * self._most:
                            raise Failure(429, "too many large requests at once. Try again in 1 s.", 1)
            except TimeoutError:
                raise Failure(408, f"the body did not arrive within {_READ_S:.0f} s.", closes=True) from None
            yield _decoded(bytes(data), kind)
        finally:
            self._held -= held

    async def _too_large(self, request: Request, chunks: AsyncIterator[bytes]) -> Failure:
        """Read on for a while, for the client to read the answer."""
        if "expect" not in request.headers:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_S):
                    drained = 0
                    async for chunk in chunks:
                        drained += len(chunk)
                        if drained > _DRAIN_BYTES:
                            break
        return Failure(413, f"the body has more than {self._most} bytes. Send fewer texts at once.", closes=True)


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    """The parts of a body. Unlike Starlette's, what was begun by one reader can be ended by another."""
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


def _decoded(data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        fields = ", ".join(msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"])
        raise Failure(400, f"the body is not what is expected: {error}. It may have: {fields}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Failure(400, f"the body is no JSON: {error}.") from None
