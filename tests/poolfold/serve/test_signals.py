"""SIGTERM finishes what was taken, SIGHUP reads artifacts again, and clients that leave free their places."""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.artifacts import expected, table, write_artifact
from tests.poolfold.serve.running import Running, rows, serving

TEXTS = ["w3 w4", "w5"]


def wait_for(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def many(service: Running, count: int, stop: threading.Event) -> tuple[list[threading.Thread], list[Any]]:
    """Clients that ask until they are stopped or refused a connection; what went wrong is kept."""
    wrong: list[Any] = []

    def ask() -> None:
        while not stop.is_set():
            try:
                status, answer, _ = service.ask("/embed", {"inputs": TEXTS, "normalize": False})
            except ConnectionRefusedError:
                return
            except Exception as error:
                wrong.append(error)
                return
            if status != 200 or not any(np.array_equal(rows(answer), scale * expected(TEXTS)) for scale in (1, 2)):
                wrong.append((status, answer))

    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, wrong


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_what_was_taken(tmp_path: Path, number: signal.Signals) -> None:
    write_artifact(tmp_path / "table")
    with serving(tmp_path / "table") as service:
        threads, wrong = many(service, 16, threading.Event())
        time.sleep(1)
        assert service.end(number) == 0
        for thread in threads:
            thread.join()
    # A request that the kernel took and the service never saw may be cut off; one that it took is answered.
    assert [error for error in wrong if not isinstance(error, ConnectionError)] == []
    assert len(wrong) <= 16


def test_what_waits_when_the_signal_comes_is_computed(tmp_path: Path) -> None:
    write_artifact(tmp_path / "table")
    texts = ["w3 w4 w5"] * 10_000
    most = [word for option in ("texts", "bytes", "tokens", "waiting") for word in (f"--max-{option}", 10**7)]
    found: list[Any] = []
    with serving(tmp_path / "table", *most) as service:

        def ask() -> None:
            # Until it takes no more: of a connection that it never read nobody was promised anything.
            with contextlib.suppress(ConnectionError):
                while True:
                    status, answer, _ = service.ask("/embed", {"inputs": texts, "normalize": False})
                    found.append((status, status == 200 and np.array_equal(rows(answer), expected(texts))))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        wait_for(lambda: float(re.search(r"queue_texts (\d\S*)", service.ask("/metrics")[1])[1]) > len(texts))
        before = len(found)
        assert service.end() == 0
        for thread in threads:
            thread.join()
    assert set(found) == {(200, True)}
    assert len(found) > before


def test_a_hangup_reads_the_artifact_again_and_loses_no_request(tmp_path: Path) -> None:
    write_artifact(tmp_path / "first")
    write_artifact(tmp_path / "second", values=2 * table())
    (tmp_path / "table").symlink_to("first")
    stop = threading.Event()
    with serving(tmp_path / "table") as service:
        threads, wrong = many(service, 8, stop)
        (tmp_path / "other").symlink_to("second")
        (tmp_path / "other").rename(tmp_path / "table")
        service.process.send_signal(signal.SIGHUP)
        wait_for(lambda: any(line["event"] == "reloaded" for line in service.log))
        _, answer, _ = service.ask("/embed", {"inputs": TEXTS, "normalize": False})
        np.testing.assert_array_equal(rows(answer), 2 * expected(TEXTS))
        stop.set()
        for thread in threads:
            thread.join()
        assert wrong == []


def test_what_cannot_be_read_again_leaves_the_old(tmp_path: Path) -> None:
    write_artifact(tmp_path / "table")
    with serving(tmp_path / "table") as service:
        shutil.rmtree(tmp_path / "table")
        service.process.send_signal(signal.SIGHUP)
        wait_for(lambda: any(line["event"].startswith("not reloaded") for line in service.log))
        _, answer, _ = service.ask("/embed", {"inputs": TEXTS, "normalize": False})
        np.testing.assert_array_equal(rows(answer), expected(TEXTS))


def test_keys_change_with_a_hangup(tmp_path: Path) -> None:
    write_artifact(tmp_path / "table")
    (tmp_path / "keys").write_text("old\n")
    with serving(tmp_path / "table", "--api-key-file", tmp_path / "keys") as service:

        def status(key: str) -> int:
            return service.ask("/embed", {"inputs": "w3"}, headers={"authorization": f"Bearer {key}"})[0]

        assert (status("old"), status("new")) == (200, 401)
        (tmp_path / "keys").write_text("old\nnew\n")
        service.process.send_signal(signal.SIGHUP)
        wait_for(lambda: status("new") == 200)
        assert status("old") == 200


def test_clients_that_leave_free_their_places(tmp_path: Path) -> None:
    write_artifact(tmp_path / "table")
    body = b'{"inputs": ["' + b'", "'.join([b"w3 w4 w5 w6"] * 2000) + b'"]}'
    request = b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    with serving(tmp_path / "table", "--max-waiting", "1000000") as service:
        for _ in range(40):
            with service.open() as connection:
                connection.sendall(request)
        wait_for(lambda: "poolfold_queue_texts 0.0" in service.ask("/metrics")[1])
        _, answer, _ = service.ask("/embed", {"inputs": TEXTS, "normalize": False})
        np.testing.assert_array_equal(rows(answer), expected(TEXTS))
        wait_for(lambda: any(line.get("status") == 499 for line in service.log))


def test_a_full_queue_says_when_to_come_again(tmp_path: Path) -> None:
    write_artifact(tmp_path / "table")
    stop, found = threading.Event(), set()
    with serving(tmp_path / "table", "--max-waiting", "64") as service:

        def ask() -> None:
            while not stop.is_set():
                status, answer, headers = service.ask("/embed", {"inputs": ["w3 w4 w5"] * 200, "normalize": False})
                if status == 429:
                    assert 1 <= int(headers["retry-after"]) <= 60
                    assert "the queue is full" in answer["error"]
                else:
                    np.testing.assert_array_equal(rows(answer), expected(["w3 w4 w5"] * 200))
                found.add(status)
                if found == {200, 429}:
                    stop.set()

        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        stop.wait(30)
        stop.set()
        for thread in threads:
            thread.join()
    assert found == {200, 429}


def test_a_request_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    write_artifact(tmp_path / "table")
    with serving(tmp_path / "table", "--timeout", "0.000001") as service:
        status, answer, _ = service.ask("/embed", {"inputs": TEXTS})
        assert status == 504
        assert "--timeout" in answer["error"]


def test_https_with_a_certificate_of_ones_own(tmp_path: Path) -> None:
    write_artifact(tmp_path / "table")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run(
        [*command, "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key],
        check=True,
        capture_output=True,
    )
    with serving(tmp_path / "table", "--tls-certificate", certificate, "--tls-key", key) as service:
        context = ssl.create_default_context(cafile=str(certificate))
        connection = http.client.HTTPSConnection(service.host, service.port, context=context)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
