"""A real tritonserver for CPUs, out of the package `nvidia-pytriton`: its environment, and a server that is ready.

The package's server embeds the interpreter that `python3` on PATH names, and ignores PYTHONPATH: what its models import
is installed beside it. `python -m bench.tritonserver` makes the environment where it is not there yet.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.exports import Environment, environment_of

TRITON = Environment(
    (("nvidia-pytriton==0.7.0", "tritonclient[all]"), ("--editable", ".")),
    ("nvidia-pytriton", "tritonclient", "onnxruntime", "numpy"),
)
FOLDER = Path("build/triton-venv")
_SERVER = "server"
_READY_S = 120
_PARSE = """
import sys
from pathlib import Path
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig
for path in sorted(Path(sys.argv[1]).glob("*/config.pbtxt")):
    print(text_format.Parse(path.read_text(), ModelConfig()).name)
"""


@dataclass(frozen=True)
class Server:
    """A server that is ready: its process, the leader of a group with its models' processes, and where it listens."""

    process: subprocess.Popen[bytes]
    http: str
    grpc: str

    def kill(self) -> None:
        """End it and its models' processes at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def installed() -> bool:
    """Whether the environment and the server are there."""
    return (FOLDER / _SERVER).is_dir()


def install() -> Path:
    """Make the environment where it is not there yet, minutes and a download; lay the server out as it expects.

    Returns:
        The environment's interpreter.
    """
    python = environment_of(TRITON, FOLDER) / "python"
    if not installed():
        draft = FOLDER / f"{_SERVER}.draft"
        shutil.rmtree(draft, ignore_errors=True)
        of_package = _packages(python) / "pytriton" / "tritonserver"
        for name in ("bin", "backends"):
            shutil.copytree(of_package / name, draft / name)
        # The stub is what a model's process runs; it belongs beside the backend that starts it.
        stub = draft / "backends" / "python" / "triton_python_backend_stub"
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        shutil.copy(of_package / "python_backend_stubs" / version / stub.name, stub)
        for file in (stub, draft / "bin" / "tritonserver"):
            file.chmod(0o755)
        draft.rename(FOLDER / _SERVER)
    return python


@contextlib.contextmanager
def serving(repository: Path, log: Path, limit_bytes: int | None = None) -> Iterator[Server]:
    """A server of a model repository, ready; killed at the end.

    Args:
        repository: what it serves.
        log: where what it says goes.
        limit_bytes: of private memory, as `ulimit -d` sets it, of the server and of each model's process.

    Raises:
        RuntimeError: it did not become ready.
    """
    python = install()
    libraries = [str(_packages(python) / "nvidia_pytriton.libs"), sysconfig.get_config_var("LIBDIR")]
    changes = {
        "LD_LIBRARY_PATH": ":".join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")]),
        "PATH": f"{python.parent}:{os.environ['PATH']}",
    }
    place = (FOLDER / _SERVER).absolute()
    command = [str(place / "bin" / "tritonserver"), f"--model-repository={repository.absolute()}"]
    command += [f"--backend-directory={place / 'backends'}", "--exit-on-error=true"]
    ports = dict(zip(("http", "grpc", "metrics"), _free_ports(3), strict=True))
    for kind, port in ports.items():
        command += [f"--{kind}-address=127.0.0.1", f"--{kind}-port={port}"]

    def limited() -> None:
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))

    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=os.environ | changes, stdout=output, stderr=output, start_new_session=True, preexec_fn=limited
        )
    server = Server(process, *(f"127.0.0.1:{ports[kind]}" for kind in ("http", "grpc")))
    try:
        _wait_until_ready(server, log)
        yield server
    finally:
        server.kill()


def asked(server: Server, protocol: str, requests: int, folder: Path, *more: str) -> dict[str, Any]:
    """What bench/triton_client.py found; arguments as there."""
    with asking(server, protocol, requests, folder, *more) as client:
        found: dict[str, Any] = json.loads(client.communicate()[0])
        return found


def asking(server: Server, protocol: str, requests: int, folder: Path, *more: str) -> subprocess.Popen[str]:
    """The client while it runs."""
    client, place = Path(__file__).with_name("triton_client.py"), getattr(server, protocol)
    command = [str(install()), str(client), protocol, place, str(requests), str(folder), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def parsed(repository: Path) -> list[str]:
    """The models whose configuration Triton's own schema takes, in order of their names.

    Raises:
        subprocess.CalledProcessError: it does not take one.
    """
    return subprocess.check_output([str(install()), "-c", _PARSE, str(repository)], text=True).split()


def _packages(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.check_output([str(python), "-c", code], text=True).strip())


def _free_ports(number: int) -> list[int]:
    """Ports that nothing listens on now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [int(one.getsockname()[1]) for one in sockets]


def _wait_until_ready(server: Server, log: Path) -> None:
    until = time.monotonic() + _READY_S
    while server.process.poll() is None and time.monotonic() < until:
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://{server.http}/v2/health/ready", timeout=2),
        ):
            return
        time.sleep(0.2)
    raise RuntimeError(f"tritonserver is not ready; {log} tells why")


if __name__ == "__main__":
    install()
