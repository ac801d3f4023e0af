"""A function in a process of its own: its result, its failure, its death, and never a process left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from exporter.host.child_process import OwnProcess
from poolfold.errors import CheckFailed, CheckpointError

HERE = "tests.exporter.host.in_child"
ROOT = Path(__file__).parents[3]
PARENT = f"""
import sys
from exporter.host.child_process import OwnProcess
with OwnProcess("{HERE}:sleep", sys.argv[1]) as process:
    process.result()
"""


def result(function: str, *arguments: object) -> object:
    with OwnProcess(f"{HERE}:{function}", *arguments) as process:
        return process.result()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "nothing after half a minute"
        time.sleep(0.02)


def test_the_result_comes_from_another_process() -> None:
    pid, total = result("pid_and_sum", 1, 2, 3)  # type: ignore[misc]
    assert total == 6
    assert pid != os.getpid()
    assert not psutil.pid_exists(pid)


def test_a_library_can_be_kept_out_of_it() -> None:
    assert result("can_import", "wave") is True, "the control"
    with OwnProcess(f"{HERE}:can_import", "wave", without=("wave",)) as process:
        assert process.result() is False


def test_sets_are_in_the_same_order_each_time() -> None:
    assert result("hash_of", "text") == result("hash_of", "text")


def test_an_error_of_ours_keeps_its_class_and_its_message() -> None:
    with pytest.raises(CheckpointError) as caught:
        result("refuse", "a.json")
    assert str(caught.value) == "a.json cannot be read. Restore it."
    assert caught.value.exit_code == 2


def test_any_error_brings_the_traceback_of_where_it_happened() -> None:
    with pytest.raises(ZeroDivisionError, match="division by zero") as caught:
        result("divide", 1)
    (note,) = caught.value.__notes__
    assert "in_child.py" in note
    assert "number / 0" in note


def test_an_error_that_cannot_travel_is_told_in_words() -> None:
    with pytest.raises(RuntimeError, match="Picky: status 503") as caught:
        result("picky")
    assert "Picky(response=503)" in caught.value.__notes__[0]


def test_a_result_that_cannot_travel_is_a_bug_and_no_failed_check() -> None:
    with pytest.raises(Exception, match=r"not_plain.*lambda") as caught:
        result("not_plain")
    assert not isinstance(caught.value, CheckFailed)


@pytest.mark.parametrize(("function", "argument", "code"), [("die", 9, -9), ("leave", 3, 3)])
def test_a_process_that_dies_is_a_failed_check_with_its_exit_code(function: str, argument: int, code: int) -> None:
    with pytest.raises(CheckFailed, match=rf"{HERE}:{function} died with exit code {code}\..*memory"):
        result(function, argument)


def test_a_block_that_fails_ends_the_process(tmp_path: Path) -> None:
    log = tmp_path / "pid"
    with pytest.raises(KeyError), OwnProcess(f"{HERE}:sleep", str(log)):
        wait_for(lambda: log.exists() and log.read_text() != "")
        pid = int(log.read_text())
        assert psutil.pid_exists(pid), "the premise needs a process"
        raise KeyError
    assert not psutil.pid_exists(pid)


def test_ctrl_c_is_not_the_childs_to_answer() -> None:
    assert result("ignores_ctrl_c") is True


def test_ctrl_c_while_the_child_starts_neither_ends_it_nor_prints(capfd: pytest.CaptureFixture[str]) -> None:
    before = set(psutil.Process().children())
    with OwnProcess(f"{HERE}:pid_and_sum", 4) as process:
        started = set(psutil.Process().children()) - before
        for _ in range(10):
            for child in started:
                child.send_signal(signal.SIGINT)
            time.sleep(0.02)
        pid, total = process.result()
    assert total == 4
    assert pid in {child.pid for child in started}
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL], ids=lambda s: s.name)
def test_the_child_ends_with_its_parent(tmp_path: Path, ending: signal.Signals) -> None:
    log = tmp_path / "pid"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(log)],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: log.exists() and log.read_text() != "")
    child = int(log.read_text())
    assert psutil.pid_exists(child), "the premise needs a process"
    if ending is signal.SIGINT:
        os.killpg(parent.pid, ending)  # as a terminal does: to parent and child alike
    else:
        parent.send_signal(ending)
    _, said = parent.communicate(timeout=30)
    assert parent.returncode == -ending
    assert said.count("Traceback") == (1 if ending is signal.SIGINT else 0), "the parent's own and no other"
    wait_for(lambda: not psutil.pid_exists(child))


def test_a_script_that_guards_nothing_is_not_run_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "from exporter.host.child_process import OwnProcess\n"
        "with OwnProcess('operator:add', 1, 2) as process:\n"
        "    print(process.result())\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("once\n3\n", "")


def test_a_module_in_the_users_folder_is_not_imported(tmp_path: Path) -> None:
    for name in ("signal", "torch", "operator"):
        (tmp_path / f"{name}.py").write_text(f"open('ran_{name}', 'w')\nraise SystemExit('mine')\n")
    script = tmp_path / "bin" / "script.py"
    script.parent.mkdir()
    script.write_text(
        "from exporter.host.child_process import OwnProcess\n"
        "with OwnProcess('operator:add', 1, 2) as process:\n"
        "    print(process.result())\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "3\n", done.stderr
    assert sorted(path.name for path in tmp_path.glob("ran_*")) == []
