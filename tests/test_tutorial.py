"""The tutorial, command by command, in one folder and in its order; only the model is another: a tiny one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from tests.pages import ROOT, read_blocks

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

BLOCKS = read_blocks("docs/tutorial.md")
COMMANDS = [text for language, text in BLOCKS if language == "bash"]
PROGRAMS = [text for language, text in BLOCKS if language == "python"]


def test_every_step_of_the_tutorial_works(checkpoint: Path, tmp_path: Path) -> None:
    binaries = Path(sys.executable).parent
    path = os.pathsep.join([str(binaries), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
    serve, ask = COMMANDS[-2:]
    assert serve.startswith("uvicorn ") and ask.startswith("curl ")
    for command in COMMANDS[:-2]:
        command = command.replace("export MODEL", f"export {checkpoint}").replace("poolfold ", "python -m poolfold ")
        done = subprocess.run(["bash", "-ec", command], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    assert np.load(tmp_path / "questions.npy").shape == (2, 32)
    search, service = PROGRAMS
    done = subprocess.run([sys.executable, "-c", search], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in search  # one of the two answers

    (tmp_path / "service.py").write_text(service)
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", *serve.replace("8080", str(port)).split()], cwd=tmp_path, env=environment
    ) as server:
        try:
            wait_for(port, server)
            command = ask.replace("8080", str(port))
            done = subprocess.run(["bash", "-ec", command], env=environment, capture_output=True, text=True)
            assert np.array(json.loads(done.stdout)).shape == (2, 32)
            bad = urllib.request.Request(
                f"http://localhost:{port}/embed",
                data=b'{"texts": "no list"}',
                headers={"content-type": "application/json"},
            )
            with pytest.raises(urllib.error.HTTPError, match="422"):
                urllib.request.urlopen(bad)
        finally:
            server.terminate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server listens."""
    for _ in range(300):
        assert server.poll() is None, "the server ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the server does not listen after 30 s")
