"""The services, each a process of its own on a port of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_START_S = 120


@dataclass(frozen=True)
class Serving:
    """A service that answers."""

    name: str
    process: subprocess.Popen[bytes]
    port: int

    @property
    def place(self) -> tuple[str, int]:
        """Where it listens."""
        return "127.0.0.1", self.port

    @property
    def peak_mib(self) -> int:
        """Of its process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) >> 10


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def started(
    name: str, command: list[str], port: int, environment: Mapping[str, str] | None = None
) -> Iterator[Serving]:
    """Run a command until the block ends; waits until it answers."""
    process = subprocess.Popen(
        command, env=os.environ | dict(environment or {}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + _START_S
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                break
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{name} does not answer; its exit status is {process.poll()}")
            time.sleep(0.1)
        yield Serving(name, process, port)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()


def ours(artifact: Path, *options: str, name: str = "poolfold serve") -> contextlib.AbstractContextManager[Serving]:
    """`poolfold serve`."""
    port = free_port()
    command = [sys.executable, "-m", "poolfold", "serve", str(artifact), "--port", str(port), "-q", *options]
    return started(name, command, port)


def plain(model: Path, threads: int) -> contextlib.AbstractContextManager[Serving]:
    """FastAPI over sentence-transformers."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.service.plain:app", "--port", str(port), "--log-level", "error"]
    environment = {"MODEL": str(model), "THREADS": str(threads)}
    return started("FastAPI over sentence-transformers", command, port, environment)


def infinity(model: Path, python: str, threads: int) -> contextlib.AbstractContextManager[Serving]:
    """The server of infinity, with PyTorch, from an environment of its own."""
    port = free_port()
    code = "from infinity_emb.cli import cli; cli()"
    command = [python, "-c", code, "v2", "--model-id", str(model), "--engine", "torch", "--device", "cpu"]
    command += ["--port", str(port), "--url-prefix", "/v1", "--no-bettertransformer", "--no-model-warmup"]
    return started("infinity", command, port, {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"})
