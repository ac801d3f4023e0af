"""What is no request, or never ends: a 4xx or a closed connection, no leak, and the next request is answered."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.artifacts import expected, write_artifact
from tests.poolfold.serve.running import Running, peak_files, rows, serving


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("hostile") / "table"
    write_artifact(directory)
    with serving(directory, "--max-bytes", "20000", environment={"POOLFOLD_API_KEY": "right"}) as running:
        yield running


KEY = {"authorization": "Bearer right"}


def is_well(service: Running) -> bool:
    status, answer, _ = service.ask("/embed", {"inputs": "w3", "normalize": False}, headers=KEY)
    return status == 200 and np.array_equal(rows(answer), expected(["w3"]))


def answer_to(service: Running, *parts: bytes, pause: float = 0, close: bool = False) -> bytes:
    """What comes back once these bytes were sent; empty where the connection is closed without a word."""
    with service.open() as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except OSError:  # closed while it was sent
                break
            time.sleep(pause)
        if close:
            connection.shutdown(socket.SHUT_WR)
        got = b""
        with contextlib.suppress(ConnectionError):
            while (not got.endswith(b"}") or b"\r\n\r\n" not in got) and (more := connection.recv(65536)):
                got += more
        return got


def head(length: int | str = 0, *more: str, path: str = "/embed") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: x", "authorization: Bearer right", f"content-length: {length}", *more]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize(
    "parts",
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),),
        (b"GET\r\n\r\n",),
        (b"\x00" * 1000,),
        (b"GET / HTTP/9.9\r\n\r\n",),
        (head(-1),),
        (head("ten"),),
        (head(5, "content-length: 6"),),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: %s\r\n" % (n, b"y" * 100) for n in range(5000)),),
        (b"GET / HTTP/1.1\r\nx-long: " + b"y" * 200_000,),
        (b"POST /embed HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",),
    ],
    ids=lambda parts: parts[0][:24].decode("latin-1"),
)
def test_what_is_no_http_is_refused(service: Running, parts: tuple[bytes, ...]) -> None:
    got = answer_to(service, *parts)
    assert got == b"" or got.startswith(b"HTTP/1.1 4"), got[:100]
    assert is_well(service)


def test_a_body_too_large_is_read_on_for_its_client_to_read_the_answer(service: Running) -> None:
    sent = b'{"inputs": "' + b"w" * 3_000_000 + b'"}'
    assert service.ask("/embed", sent, headers=KEY)[0] == 413
    chunked = answer_to(service, head(0, "x: y").replace(b"content-length: 0", b"transfer-encoding: chunked"), *(
        [b"%x\r\n" % 30_000 + b"w" * 30_000 + b"\r\n", b"0\r\n\r\n"]
    ))  # fmt: skip
    assert chunked.startswith(b"HTTP/1.1 413"), chunked[:100]


def test_a_client_that_asks_first_need_not_send_a_body_too_large(service: Running) -> None:
    assert answer_to(service, head(10**9, "expect: 100-continue")).startswith(b"HTTP/1.1 413")


def test_a_head_that_ends_before_its_end_is_answered(service: Running) -> None:
    assert answer_to(service, b"POST /embed HTTP/1.1\r\nhost: x\r\n", close=True).startswith(b"HTTP/1.1 400")


def test_slow_heads_are_closed_and_hold_nobody_up(service: Running) -> None:
    slow = [service.open() for _ in range(50)]
    for connection in slow:
        connection.sendall(b"POST /embed HTTP/1.1\r\nhost:")
    began = time.monotonic()
    while time.monotonic() - began < 13:
        assert is_well(service)
        for connection in slow:
            with contextlib.suppress(OSError):
                connection.sendall(b" x")
        time.sleep(0.5)
    for connection in slow:
        with contextlib.suppress(ConnectionError):
            assert connection.recv(100)[:12] in (b"", b"HTTP/1.1 408")
        connection.close()


def test_keys_are_asked_for(service: Running) -> None:
    for headers in (
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "right"},
        {"authorization": "Basic right"},
    ):
        status, answer, found = service.ask("/embed", {"inputs": "w3"}, headers=headers)
        assert status == 401
        assert "Bearer KEY" in answer["error"]
        assert found["www-authenticate"] == "Bearer"
    assert service.ask("/v1/embeddings", {"input": "w3"}, headers=KEY)[0] == 200
    assert service.ask("/metrics")[0] == service.ask("/docs")[0] == service.ask("/v1/models")[0] == 401
    assert service.ask("/health/ready")[0] == 200


def test_hundreds_of_broken_requests_leave_nothing_behind(service: Running) -> None:
    chance = random.Random(3)
    good = head(17) + b'{"inputs":"w3 w"}'
    assert is_well(service)
    before = peak_files(service.process)
    for _ in range(400):
        broken = bytearray(good)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(broken))
            broken[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        with service.open() as connection, contextlib.suppress(OSError):
            connection.sendall(broken[: chance.randrange(1, len(broken) + 1)])
            if chance.random() < 0.5:
                connection.settimeout(0.05)
                connection.recv(1000)
    assert is_well(service)
    time.sleep(0.5)
    assert peak_files(service.process) <= before + 5
    assert not [line for line in service.log if line.get("status") == 500]


def test_a_bad_place_or_key_is_told_before_a_model_is_loaded(tmp_path: Path, service: Running) -> None:
    def refused(*arguments: object) -> str:
        command = [sys.executable, "-m", "poolfold", "serve", str(tmp_path), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2
        return done.stderr

    assert "Choose another --port" in refused("--port", service.port)
    assert "no address of this machine" in refused("--host", "no.such.host.invalid")
    (tmp_path / "keys").write_text("\n")
    assert "has no key" in refused("--api-key-file", tmp_path / "keys")
    assert "go together" in refused("--tls-key", tmp_path / "keys")
    assert "no certificate" in refused("--tls-certificate", tmp_path / "keys", "--tls-key", tmp_path / "keys")
