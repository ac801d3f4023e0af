"""Many clients at once, each with a connection of its own, that check every answer against its own text.

As lean as can be: clients and service share the cores.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import orjson

LEAST_COSINE = 0.9999


@dataclass
class Found:
    """What clients saw.

    seconds: of each answer in the window.
    wrong: answers whose vector is another text's, or none.
    lost: requests without an answer.
    statuses: of all answers.
    window: seconds.
    """

    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    lost: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    window: float = 0.0

    @property
    def rate(self) -> float:
        """Texts a second."""
        return len(self.seconds) / self.window

    def at(self, share: float) -> float:
        """The time, in ms, that so large a share of answers came within."""
        return float(np.quantile(self.seconds, share)) * 1000 if self.seconds else float("nan")


class Connection:
    """One HTTP connection that is kept; asks and reads without a library."""

    def __init__(self, host: str, port: int) -> None:
        """Not open yet."""
        self._place = host, port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, text: str, path: str = "/v1/embeddings") -> tuple[int, bytes]:
        """Status and body."""
        if self._writer is None or self._writer.is_closing():
            self._reader, self._writer = await asyncio.open_connection(*self._place, limit=2**20)
        assert self._reader is not None
        body = orjson.dumps({"input": text})
        self._writer.write(
            b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
            % (path.encode(), len(body), body)
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        content = await self._reader.readexactly(length)
        if b"connection: close" in lines:
            self.close()
        return int(lines[0].split()[1]), content

    def close(self) -> None:
        """Close it."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


async def load(
    place: tuple[str, int],
    texts: Sequence[str],
    wanted: npt.NDArray[np.float32],
    *,
    clients: int,
    seconds: float,
    warm: float = 1.0,
    rate: float | None = None,
    seed: int = 0,
) -> Found:
    """Ask from so many clients for so long, after a time that does not count.

    Args:
        place: host and port.
        texts: to choose from.
        wanted: the vector of each.
        clients: that each ask again once they have an answer.
        seconds: of the window.
        warm: seconds before it.
        rate: requests a second of all of them, at random times; None for as many as they get.
        seed: of the choice.
    """
    found, began = Found(window=seconds), time.perf_counter() + warm
    end = began + seconds

    async def client(number: int) -> None:
        chance, connection = random.Random(seed * 10_000 + number), Connection(*place)
        due = time.perf_counter()
        while True:
            if rate is not None:
                due += chance.expovariate(rate / clients)
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
            asked = time.perf_counter()
            if asked >= end:
                break
            index = chance.randrange(len(texts))
            try:
                status, body = await asyncio.wait_for(connection.ask(texts[index]), 120)
            except (OSError, EOFError, TimeoutError):
                found.lost += 1
                connection.close()
                await asyncio.sleep(0.05)
                continue
            answered = time.perf_counter()
            if asked >= began:
                found.statuses[status] += 1
            if status == 200:
                vector = np.array(orjson.loads(body)["data"][0]["embedding"], dtype=np.float32)
                # Closed loops overlap the window's ends; what is answered within it counts.
                if began <= answered <= end:
                    found.seconds.append(answered - (due if rate is not None else asked))
                if vector.shape != wanted[index].shape or not float(vector @ wanted[index]) >= LEAST_COSINE:
                    found.wrong += 1
        connection.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return found
