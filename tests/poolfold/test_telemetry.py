"""An encoder leaves nothing in the home directory and asks no server anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.artifacts import write_artifact

ENCODE = "import poolfold, sys; print(len(poolfold.load(sys.argv[1]).encode(['w1'])))"
EXPORTER = "import exporter.model.onnx_file, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"


def run(code: str, home: Path, *arguments: str, before: tuple[str, ...] = (), **variables: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(Path.cwd()), **variables}
    command = [*before, sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def files(home: Path) -> list[str]:
    return [path.name for path in home.rglob("*") if path.is_file()]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    write_artifact(tmp_path / "artifact")
    return tmp_path / "home"


def test_a_fresh_home_stays_empty(home: Path) -> None:
    assert run(ENCODE, home, str(home.parent / "artifact")) == "1\n"
    assert files(home) == []


def test_whoever_wants_telemetry_gets_it(home: Path) -> None:
    # And so the test above can fail.
    run(ENCODE, home, str(home.parent / "artifact"), ORT_DISABLE_TELEMETRY="0")
    assert "deviceid" in files(home)


def test_the_exporter_turns_it_off_too(home: Path) -> None:
    assert run(EXPORTER, home) == "1\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may take the network away")
def test_without_a_network_nothing_complains(home: Path) -> None:
    assert run(ENCODE, home, str(home.parent / "artifact"), before=("unshare", "--net")) == "1\n"
