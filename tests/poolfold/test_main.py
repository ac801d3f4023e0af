"""The command survives its surroundings: other packages called `exporter` and `graphs`, on PYTHONPATH and around it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from poolfold.__main__ import order_path

ENTRIES = ([str(Path(sys.executable).parent / "poolfold")], [sys.executable, "-m", "poolfold"])


@pytest.fixture
def surroundings(tmp_path: Path) -> Path:
    """A project with packages of our names; importing any of them ends the process."""
    for name in ("graphs", "exporter"):
        package = tmp_path / "project" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise SystemExit('a stranger was imported')\n")
    (tmp_path / "project" / "theirs.py").write_text("")
    return tmp_path / "project"


@pytest.mark.e2e
@pytest.mark.parametrize("entry", ENTRIES, ids=["script", "module"])
@pytest.mark.parametrize("how", ["PYTHONPATH", "working directory"])
def test_an_export_runs_beside_packages_of_the_same_names(
    entry: list[str], how: str, surroundings: Path, checkpoint: Path, tmp_path: Path
) -> None:
    path = os.environ.get("PYTHONPATH", "")
    environment = dict(os.environ)
    if how == "PYTHONPATH":
        environment["PYTHONPATH"] = os.pathsep.join([str(surroundings), *([path] if path else [])])
    # All of it: reading in a child process, graphs, validation. Systems are timed in further processes, for one entry.
    less = ["--skip-latency"] if "-m" in entry else []
    done = subprocess.run(
        [*entry, "export", str(checkpoint), "-o", str(tmp_path / "out"), "--threads", "1", *less],
        cwd=surroundings if how == "working directory" else tmp_path,
        env=environment | {"POOLFOLD_DEBUG": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_only_entries_with_packages_of_our_names_move(surroundings: Path, tmp_path: Path) -> None:
    home = Path(__file__).parents[2]
    before = [str(tmp_path), str(surroundings), "/usr/lib/python3", str(home), "/elsewhere"]
    assert order_path(before, home) == [str(tmp_path), "/usr/lib/python3", str(home), "/elsewhere", str(surroundings)]
    assert order_path(["/a", str(surroundings)], home) == ["/a", str(home), str(surroundings)]
    (tmp_path / "graphs").mkdir()  # a folder without __init__.py is no package that could win
    assert order_path([str(tmp_path), str(home)], home) == [str(tmp_path), str(home)]
