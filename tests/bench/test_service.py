"""The load bench and the soak: answers are checked one by one, and a run with a fault in it fails."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from bench.service.__main__ import page_table
from bench.service.clients import load
from bench.service.soak import failures
from bench.service.systems import Serving
from bench.service.workers import together, ways

TEXTS = ["one", "two", "three"]
VECTORS = np.eye(3, dtype=np.float32)
GOOD: dict[str, Any] = {
    "steady": {"wrong": 0, "lost": 0, "statuses": {"200": 9}, "mib_first_fifth": 300, "mib_last_fifth": 310},
    "overload": {"wrong": 0, "lost": 0, "statuses": {"200": 5, "429": 5}},
    "killed": {"wrong": 0, "answers_after": 3},
    "hostile": {
        "answers": {"400": 5, "closed or left": 2},
        "files_left": 0,
        "answers_then": 200,
        "beside": {"wrong": 0, "lost": 0},
    },
}


@contextlib.asynccontextmanager
async def service(answer: Any) -> AsyncIterator[int]:
    """The port of a service of our own, whose vector of a text is `answer(index)`, and which hangs up on None."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            length = 0
            while (line := await reader.readline()) not in (b"\r\n", b""):
                if line.startswith(b"content-length"):
                    length = int(line.split(b":")[1])
            text = json.loads(await reader.readexactly(length))["input"]
            vector = answer(TEXTS.index(text))
            if vector is None:
                break
            body = json.dumps({"data": [{"embedding": vector}]}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            assert head.startswith(b"POST /v1/embeddings")
            await asyncio.sleep(0.001)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def answered_by(answer: Any) -> Any:
    """What four clients of such a service see."""

    async def run() -> Any:
        async with service(answer) as port:
            return await load(("127.0.0.1", port), TEXTS, VECTORS, clients=4, seconds=0.3, warm=0.05)

    return asyncio.run(run())


def test_right_answers_are_counted() -> None:
    found = answered_by(lambda index: VECTORS[index].tolist())
    assert (found.wrong, found.lost) == (0, 0)
    assert found.statuses[200] >= len(found.seconds) > 10
    assert 0 < found.at(0.5) <= found.at(0.99) < 300


def test_another_texts_vector_and_one_of_another_length_are_wrong() -> None:
    assert answered_by(lambda index: VECTORS[(index + 1) % 3].tolist()).wrong > 10
    assert answered_by(lambda index: [1.0]).wrong > 10


def test_a_connection_that_is_closed_loses_its_request() -> None:
    assert answered_by(lambda index: None).lost > 3


def test_a_soak_without_a_fault_passes() -> None:
    assert failures(GOOD) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("steady", "wrong"), 1),
        (("steady", "lost"), 1),
        (("steady", "statuses"), {"200": 9, "500": 1}),
        (("steady", "mib_last_fifth"), 400),
        (("overload", "wrong"), 1),
        (("overload", "lost"), 1),
        (("overload", "statuses"), {"200": 5}),
        (("overload", "statuses"), {"200": 5, "429": 1, "503": 1}),
        (("killed", "wrong"), 1),
        (("killed", "answers_after"), 0),
        (("hostile", "answers"), {"500": 1}),
        (("hostile", "files_left"), 3),
        (("hostile", "answers_then"), 500),
        (("hostile", "beside", "wrong"), 1),
        (("hostile", "beside", "lost"), 1),
    ],
)
def test_a_soak_with_a_fault_fails(path: tuple[str, ...], value: object) -> None:
    result = copy.deepcopy(GOOD)
    at = result
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    assert len(failures(result)) == 1


def test_the_table_has_each_service_at_each_number_of_clients() -> None:
    spread = {"q1": 1.0, "median": 2.0, "q3": 3.0}
    of = {"rate": spread, "p50_ms": spread, "p99_ms": spread, "answers": 5, "wrong": 1, "lost": 2, "refused": 3}
    result = {
        "rounds": 3,
        "seconds": 8.0,
        "threads": 2,
        "environment": {"cpu": "a processor"},
        "failed": {"other": "it did not start"},
        "systems": [{"system": "ours", "peak_mib": 300, "clients": {8: of, 1: of}}],
    }
    table = page_table(result)
    assert "| 1 | ours | 2 [1, 3] | 2.0 [1.0, 3.0] | 2.0 [1.0, 3.0] | 6 | 300 |" in table
    assert table.index("| 1 | ours") < table.index("| 8 | ours")
    assert "other did not run: it did not start." in table


@pytest.mark.parametrize("second_is_right", [True, False])
def test_clients_of_several_processes_count_as_one_load(second_is_right: bool) -> None:
    async def run() -> tuple[Any, Any]:
        right = lambda index: VECTORS[index].tolist()  # noqa: E731
        async with service(right) as one, service(right if second_is_right else lambda index: [0.0] * 3) as other:
            services = [Serving(str(port), None, port) for port in (one, other)]  # type: ignore[arg-type]
            both = await together(services, TEXTS, VECTORS, clients=4, seconds=0.3, seed=1)
            return both, await together(services[:1], TEXTS, VECTORS, clients=4, seconds=0.3, seed=1)

    both, first = asyncio.run(run())
    assert both.lost == first.lost == first.wrong == 0
    assert (both.wrong == 0) is second_is_right
    assert both.window == 0.3 and len(both.seconds) > 10 and sum(both.statuses.values()) > 10


def test_every_way_takes_all_cores() -> None:
    for count, options in ways(4).values():
        workers, threads = (int(options[options.index(name) + 1]) for name in ("--workers", "--threads"))
        assert count * workers * threads == 4
