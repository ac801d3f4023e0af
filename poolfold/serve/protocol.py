"""Connections: how long the head of a request may take, and how long an answer may wait to be read."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_HEAD_S = 10.0
"""From the first byte of a head, or from the connection, to its end."""
_LINGER_S = 30.0
"""For a client to read what was sent, once the connection is to be closed."""


class Connection(H11Protocol):
    """uvicorn's connection with a limit of time for heads: one byte now and then would hold it for ever.

    The size of a head is limited by h11, which knows no time either.
    """

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Expect the rest of a head, or of a body that nobody reads any more."""
        super().data_received(data)
        if not self._unread():
            self._forget()
        elif self._head is None:
            self._expect()

    def on_response_complete(self) -> None:
        """Expect the rest of a body that was answered before its end."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and self._head is None:
            self._expect()

    def eof_received(self) -> None:
        """Answer a head that ended before its end; what sends no more is taken to be gone."""
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._answer(400, b"the head of the request has no end.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing any more."""
        self._forget()
        super().connection_lost(exc)

    def timeout_keep_alive_handler(self) -> None:
        """Close; a client that does not read what it is sent loses it after a while."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(_LINGER_S, self.transport.abort)

    def _unread(self) -> bool:
        """Whether something began to come that no route waits for."""
        theirs = self.conn.their_state
        return theirs is h11.IDLE or (theirs is h11.SEND_BODY and self.conn.our_state is h11.DONE)

    def _expect(self) -> None:
        self._head = self.loop.call_later(_HEAD_S, self._too_slow)

    def _forget(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _too_slow(self) -> None:
        self._head = None
        if self.conn.our_state is h11.IDLE and not self.transport.is_closing():
            self._answer(408, b"the head of the request did not arrive in time.")
        self.transport.close()
        self.loop.call_later(_LINGER_S, self.transport.abort)

    def _answer(self, status: int, message: bytes) -> None:
        headers = [("content-type", "text/plain"), ("content-length", str(len(message))), ("connection", "close")]
        parts: tuple[Any, ...] = (
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=message),
            h11.EndOfMessage(),
        )
        for part in parts:
            self.transport.write(self.conn.send(part) or b"")
