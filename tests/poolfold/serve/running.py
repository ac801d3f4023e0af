"""`poolfold serve` as a process of its own, as its users have it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def rows(answer: Any) -> npt.NDArray[np.float32]:
    """The vectors of an answer: written in as many digits as float32 has, they are float32's once they are read."""
    return np.array(answer, dtype=np.float32)


@dataclass
class Running:
    """A service that takes requests; log: what it logged so far, an object a line."""

    process: subprocess.Popen[str]
    host: str
    port: int
    log: list[dict[str, Any]] = field(default_factory=list)

    def ask(
        self,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
        timeout: float = 60,
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, body and headers of an answer; a body that is no bytes is sent as JSON."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        with contextlib.closing(connection):
            connection.request(method or ("GET" if data is None else "POST"), path, data, headers or {})
            response = connection.getresponse()
            content = response.read()
            found = {name.lower(): value for name, value in response.getheaders()}
        is_json = found.get("content-type", "").startswith("application/json")
        return response.status, json.loads(content) if is_json else content.decode(), found

    def open(self, timeout: float = 30) -> socket.socket:
        """A connection to write anything to."""
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Have it end; gives its exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextlib.contextmanager
def serving(*arguments: object, environment: Mapping[str, str] | None = None) -> Iterator[Running]:
    """Run `poolfold serve` with arguments on a free port until the block ends."""
    command = [sys.executable, "-m", "poolfold", "serve", *map(str, arguments), "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | dict(environment or {})
    )
    log: list[dict[str, Any]] = []
    raw: list[str] = []

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            raw.append(line)
            with contextlib.suppress(ValueError):
                log.append(json.loads(line))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        assert process.stdout is not None
        url = next((word for line in process.stdout for word in line.split() if word.startswith("http")), None)
        assert url is not None, "".join(raw)
        host, _, port = url.split("/")[2].rpartition(":")
        yield Running(process, host, int(port), log)
    finally:
        process.kill()
        process.wait()
        reader.join(10)


def peak_files(process: subprocess.Popen[str]) -> int:
    """Files that a process has open."""
    return len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
