"""Publishing is all or nothing, whatever ends the exporter."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from exporter.artifact.publish import require_apart, staging
from poolfold.errors import InputError

HOLD = """
import sys, time
from pathlib import Path
from exporter.artifact.publish import staging
with staging(Path(sys.argv[1]), force=True) as stage:
    (stage.directory / "half.bin").write_bytes(b"half")
    print("ready", flush=True)
    time.sleep(60)
"""
FILL = """
import resource, signal, sys
from pathlib import Path
from exporter.artifact.publish import staging
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
with staging(Path(sys.argv[1]), force=False) as stage:
    (stage.directory / "big.bin").write_bytes(b"x" * 10_000)
"""
TRESPASS = """
import os, sys
from pathlib import Path
from exporter.artifact.publish import staging
if os.geteuid() == 0:
    os.setuid(65534)  # root may write anywhere
with staging(Path(sys.argv[1]), force=False) as stage:
    pass
"""


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def wait_until_gone(directory: Path, expected: list[str]) -> None:
    deadline = time.monotonic() + 20
    while names(directory) != expected and time.monotonic() < deadline:
        time.sleep(0.02)


def hold(destination: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(destination)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_the_directory_appears_whole_with_the_usual_permissions(tmp_path: Path) -> None:
    with staging(tmp_path / "deep" / "out", force=False) as stage:
        (stage.directory / "a.txt").write_text("a")
        assert names(tmp_path / "deep") == [stage.directory.parent.name]
    assert names(tmp_path / "deep") == ["out"]
    assert (tmp_path / "deep" / "out" / "a.txt").read_text() == "a"
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "deep" / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_error_leaves_nothing_not_even_the_parents_it_made(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), staging(tmp_path / "deep" / "out", force=False) as stage:
        (stage.directory / "a.txt").write_text("a")
        raise RuntimeError
    assert names(tmp_path) == []


def test_a_directory_with_something_in_it_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"is not empty.*--force"), staging(tmp_path, force=False):
        pytest.fail("staged over a user's files")
    assert names(tmp_path) == ["mine.txt"]


@pytest.mark.parametrize("meanwhile", [False, True])
def test_without_force_an_artifact_is_kept_too(tmp_path: Path, meanwhile: bool) -> None:
    out = tmp_path / "out"

    def put_an_artifact_there() -> None:
        out.mkdir()
        (out / "manifest.json").write_text("old")

    if not meanwhile:
        put_an_artifact_there()
    with pytest.raises(InputError, match=r"out is not empty\. Choose"), staging(out, force=False) as stage:
        put_an_artifact_there()
        (stage.directory / "manifest.json").write_text("new")
    assert (out / "manifest.json").read_text() == "old"


def test_an_empty_directory_is_used(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with staging(out, force=False) as stage:
        (stage.directory / "a.txt").write_text("a")
    assert names(out) == ["a.txt"]


def test_a_directory_that_fills_up_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match="is not empty"), staging(out, force=False):
        out.mkdir()
        (out / "theirs.txt").write_text("theirs")
    assert names(out) == ["theirs.txt"]
    assert names(tmp_path) == ["out"]


def test_force_replaces_the_old_one_only_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text("old")
    with pytest.raises(RuntimeError), staging(out, force=True) as stage:
        (stage.directory / "new.txt").write_text("new")
        raise RuntimeError
    assert names(out) == ["manifest.json"]
    with staging(out, force=True) as stage:
        (stage.directory / "new.txt").write_text("new")
        assert names(out) == ["manifest.json"]
    assert names(out) == ["new.txt"]
    assert names(tmp_path) == ["out"]


def test_force_replaces_artifacts_only(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is no artifact"), staging(tmp_path, force=True):
        pytest.fail("staged over a user's files")
    assert names(tmp_path) == ["thesis.txt"]


def test_what_is_read_cannot_be_replaced(tmp_path: Path) -> None:
    model = tmp_path / "out" / "model"
    model.mkdir(parents=True)
    for inside in (model, tmp_path / "out"):
        with pytest.raises(InputError, match="would be replaced"):
            require_apart(tmp_path / "out", [inside])
    require_apart(tmp_path / "other", [model, tmp_path / "missing.txt"])
    require_apart(model / "out", [model])


def test_a_link_is_followed_to_the_directory_it_names(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with staging(tmp_path / "link", force=False) as stage:
        (stage.directory / "a.txt").write_text("a")
    assert names(tmp_path) == ["link", "real"]
    assert names(tmp_path / "real") == ["a.txt"]
    (tmp_path / "nowhere").symlink_to("missing")
    with pytest.raises(InputError, match="dangling"), staging(tmp_path / "nowhere", force=False):
        pytest.fail("staged behind a dangling link")


def test_names_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    with staging(tmp_path / ("x" * 250), force=False):
        pass
    assert names(tmp_path) == ["x" * 250]
    with pytest.raises(InputError, match="too long"), staging(tmp_path / ("x" * 300), force=False):
        pytest.fail("staged under a name that cannot be")


def test_parents_made_for_a_killed_export_go_away_too(tmp_path: Path) -> None:
    process = hold(tmp_path / "a" / "b" / "out")
    process.kill()
    process.wait()
    wait_until_gone(tmp_path, [])
    assert names(tmp_path) == []


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="is a file"), staging(tmp_path / "out", force=True):
        pytest.fail("staged over a file")
    with pytest.raises(InputError, match="is not a directory"), staging(tmp_path / "out" / "deep", force=True):
        pytest.fail("staged below a file")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_exporter_leaves_the_old_directory_and_nothing_else(tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text("old")
    process = hold(out)
    assert len(names(tmp_path)) == 2
    process.send_signal(number)
    assert process.wait(timeout=30) != 0
    wait_until_gone(tmp_path, ["out"])
    assert names(tmp_path) == ["out"]
    assert names(out) == ["manifest.json"]


def test_what_a_killed_watcher_left_is_swept_but_not_what_is_in_use(tmp_path: Path) -> None:
    left = tmp_path / ".out.poolfold-0badcafe"
    left.mkdir()
    (left / "half.bin").write_bytes(b"half")
    process = hold(tmp_path / "out")
    try:
        held = next(name for name in names(tmp_path) if name != left.name)
        assert not left.exists()
        with staging(tmp_path / "out", force=False) as stage:
            (stage.directory / "a.txt").write_text("a")
        assert names(tmp_path) == sorted([held, "out"])
    finally:
        process.kill()
        process.wait()


def test_a_disk_that_takes_no_more_is_told_apart_from_a_bug(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FILL, str(tmp_path / "out")], capture_output=True, text=True)
    assert "InputError: No room to write" in done.stderr
    assert "Nothing was published" in done.stderr
    wait_until_gone(tmp_path, [])
    assert names(tmp_path) == []


def test_a_place_without_permission_is_told_apart_from_a_bug() -> None:
    # Not tmp_path: its parents are closed to the user that root becomes here.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        done = subprocess.run([sys.executable, "-c", TRESPASS, f"{folder}/out"], capture_output=True, text=True)
        assert "InputError: Nothing can be made in" in done.stderr
        assert names(Path(folder)) == []
