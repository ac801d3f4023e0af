"""The command line itself: help, versions, exit codes, and every way in which a command can end."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.commands import targets
from exporter.commands.cli import cli, run_command
from exporter.comparison.read_task import KINDS
from exporter.host.rows import FORMATS
from exporter.spec.build_options import HARDWARE
from exporter.spec.model import DType
from exporter.spec.options import Layout
from poolfold.encoder import PRECISIONS
from poolfold.errors import CheckFailed, InputError, TargetUnavailable, how_to_install
from poolfold.sessions.ort_providers import PROVIDERS
from poolfold.sessions.targets import TARGETS
from poolfold.sessions.tensorrt.library import MODULES

ROOT = Path(__file__).parents[3]
COMMANDS = (
    "export", "build", "validate", "bench", "compare", "report", "distill", "embed", "serve", "deploy", "inspect",
    "verify", "push", "targets",
)  # fmt: skip
BUILDING = {"--batch", "--seq-len", "--workspace", "--hardware-compatibility", "--compute-capability"}
DEFAULTS = {
    "export": {
        *(
            "--pooling",
            "--bench-seconds",
            "--validate-seconds",
            "--int8-floor",
            "--layout",
            "--token-embeddings",
            "--max-seq-length",
            "--renormalize",
            "--dtype",
            "--target",
            "--threads",
            "--tokenizer",
        ),
        *BUILDING,
    },
    "build": {"--output", "--strategy", "--dtype", *BUILDING},
    "validate": {"--validate-seconds", "--provider", "--target", "--model", "--threads"},
    "bench": {"--provider", "--target", "--seconds", "--model", "--threads"},
    "compare": {
        *("--columns", "--format", "--kind", "--pooling", "--dtype", "--output", "--seconds", "--threads"),
        *("--tokenizer", "--margin"),
    },
    "report": {"--output"},
    "distill": {
        *("--to", "--from", "--steps", "--batch-size", "--learning-rate", "--evaluate", "--patience", "--seed"),
        "--tokenizer",
    },
    "embed": {
        *("--provider", "--strategy", "--column", "--target", "--dtype", "--batch-size", "--precision", "--threads"),
        *("--id-column", "--engine", "--workers"),
    },
    "serve": {
        *("--host", "--port", "--strategy", "--target", "--provider", "--dtype", "--workers", "--threads"),
        *("--max-texts", "--max-bytes", "--max-tokens", "--max-waiting", "--timeout", "--truncate", "--api-key-file"),
    },
    "deploy": {"--name", "--strategy", "--target", "--dtype", "--instances", "--threads"},
    "inspect": set(),
    "verify": set(),
    "push": {"--revision"},
    "targets": set(),
}
"""Options of each command that have a default to show."""


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `poolfold ...` in a shell, with `poolfold` standing for the console script."""
    script = 'poolfold() { "$PYTHON" -m poolfold "$@"; }; set -o pipefail\n'
    return subprocess.run(
        ["bash", "-c", script + command],
        env=os.environ | {"PYTHON": sys.executable} | environment, cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let `poolfold targets` fail."""

    def fail() -> None:
        raise error

    monkeypatch.setattr(targets, "availability", fail)


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run_command([*command.split(), "--help"]) == 0
    return capsys.readouterr().out


def test_the_commands_are_these() -> None:
    assert set(cli.commands) == set(COMMANDS)


def test_the_choices_are_the_targets_and_precisions_that_there_are() -> None:
    choices = {
        (name, parameter.name): set(parameter.type.choices)
        for name, command in cli.commands.items()
        for parameter in command.params
        if isinstance(parameter.type, click.Choice)
    }
    assert choices == {
        **{
            (name, "target"): {target.name for target in TARGETS}
            for name in ("validate", "bench", "embed", "serve", "deploy")
        },
        ("export", "targets"): {target.name for target in TARGETS},
        **{(name, "dtype"): {dtype.value for dtype in DType} for name in ("embed", "serve", "deploy")},
        ("embed", "engine"): {"stream", "ray"},
        ("deploy", "kind"): {"triton"},
        ("embed", "precision"): set(PRECISIONS),
        **{(name, "dtypes"): {dtype.value for dtype in DType} for name in ("export", "build")},
        ("build", "targets"): set(MODULES),
        ("compare", "dtypes"): set(TARGETS[0].dtypes),
        ("compare", "kind"): set(KINDS),
        ("compare", "file_format"): {*FORMATS, "txt"},
        **{(name, "hardware_compatibility"): set(HARDWARE) for name in ("export", "build")},
        ("export", "layout"): {kind.value for kind in Layout},
        **{(name, "tokenizer"): {"file", "transformers"} for name in ("export", "compare", "distill")},
        **{(name, "provider"): set(PROVIDERS) for name in ("validate", "bench", "embed", "serve")},
    }


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_a_help_page_ends_with_two_examples_that_parse(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = help_of(command, capsys).splitlines()
    assert lines[-3].strip() == "Examples:"
    assert lines[-2] != lines[-1]
    for line in lines[-2:]:
        program, name, *arguments = shlex.split(line)
        assert program == "poolfold"
        assert name == command or not command
        cli.commands[name].make_context(name, arguments)  # raises for a flag or a value that is not there


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_a_help_page_fits_80_columns(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = help_of(command, capsys)
    assert [line for line in page.splitlines() if len(line) > 80] == []
    assert command or "..." not in page.partition("Commands:")[2], "a summary that is cut off says nothing"


def test_every_command_can_be_quiet_and_speak_json() -> None:
    for name, command in cli.commands.items():
        assert {"quiet", "as_json"} <= {parameter.name for parameter in command.params}, name


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_defaults(command: str) -> None:
    context = cli.commands[command].make_context(command, [], parent=cli.make_context("poolfold", [command]),
                                                 resilient_parsing=True)  # fmt: skip
    records = {
        next((name for name in p.opts if name.startswith("--")), ""): p.get_help_record(context)
        for p in cli.commands[command].params
    }
    shown = {name for name, record in records.items() if record and "default: " in record[1]}
    assert shown == DEFAULTS[command]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"]) == 0
    assert version("poolfold") in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["nosuch"], ["verify"], ["verify", "a", "b"], ["targets", "--nosuch"]])
def test_a_call_that_makes_no_sense_shows_usage_on_stderr(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("Usage: poolfold")


@given(st.lists(st.integers(1, 2**16), min_size=3, max_size=3).map(sorted))
def test_a_range_in_order_is_read(numbers: list[int]) -> None:
    text = ":".join(map(str, numbers))
    context = cli.commands["export"].make_context("export", ["m", "-o", "d", "--batch", text, "--seq-len", text])
    assert context.params["batch"] == context.params["seq_len"] == tuple(numbers)


@pytest.mark.parametrize(
    "text", ["", "8", "1:8", "1:2:3:4", "0:1:2", "2:1:3", "1:3:2", "-1:1:2", "1: 2:3", "²:3:4", "1:2:65537"]
)
def test_any_other_range_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected"):
        cli.commands["export"].make_context("export", ["m", "-o", "d", f"--batch={text}"])


@pytest.mark.parametrize(
    ("error", "code"), [(CheckFailed("a"), 1), (InputError("a"), 2), (TargetUnavailable("a"), 3)], ids=repr
)
def test_an_error_of_ours_is_its_message_and_its_code(
    error: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, error)
    assert run_command(["targets"]) == code
    assert capsys.readouterr() == ("", "error: a\n")


def test_a_bug_is_one_line_unless_the_traceback_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, KeyError("first line\nsecond line"))
    monkeypatch.delenv("POOLFOLD_DEBUG", raising=False)
    assert run_command(["targets", "--json"]) == 70
    out, err = capsys.readouterr()
    assert json.loads(out)["exit_code"] == 70
    assert len(err.splitlines()) == 1
    assert "a bug in poolfold: KeyError" in err
    assert "POOLFOLD_DEBUG=1" in err
    monkeypatch.setenv("POOLFOLD_DEBUG", "1")
    assert run_command(["targets"]) == 70
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "in fail" in err


def test_a_library_that_is_not_here_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, ModuleNotFoundError("No module named 'torch'", name="torch.nn"))
    assert run_command(["targets"]) == 3
    assert how_to_install("export") in capsys.readouterr().err
    raising(monkeypatch, ModuleNotFoundError("No module named 'ours'", name="ours"))
    assert run_command(["targets"]) == 70


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["verify", "nowhere", "--json"], 2, "nowhere is not an artifact: it does not exist"),
        (["export", "m", "-o", "o", "--pooling", "average", "--json"], 2, "Did you mean mean?"),
        (["nosuch", "--json"], 2, "No such command"),
    ],
)
def test_with_json_an_error_is_an_object_too(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) == code
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert (answer["exit_code"], answer.keys()) == (code, {"error", "exit_code"})
    assert message in answer["error"]
    assert message in said.err
    assert run_command(["verify", "--", "--json"]) == 2  # a directory of that name
    assert capsys.readouterr().out == ""


def test_a_working_directory_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run_command(["verify", "artifact"]) == 2
    assert "working directory is not there" in capsys.readouterr().err


@pytest.mark.e2e
def test_a_shell_completes(tmp_path: Path) -> None:
    done = shell("poolfold", _POOLFOLD_COMPLETE="bash_complete", COMP_WORDS="poolfold ver", COMP_CWORD="1")
    assert done.stdout == "plain,verify\n", done.stderr


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()], ids=repr)
def test_ctrl_c(error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    raising(monkeypatch, error)
    assert run_command(["targets"]) == 130
    # click moves to a new line first, behind the ^C.
    assert capsys.readouterr().err.strip() == "error: interrupted; nothing was published."


@pytest.mark.e2e
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("arguments", ["targets", "targets --json", "--help"])
def test_a_result_that_cannot_be_written_is_no_success(arguments: str) -> None:
    done = shell(f"poolfold {arguments} > /dev/full")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert "No space left" in done.stderr


@pytest.mark.e2e
def test_a_reader_that_goes_away_is_no_failure_and_no_traceback() -> None:
    done = shell("poolfold targets | true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = shell("poolfold targets --json | head -1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


@pytest.mark.e2e
def test_a_reader_that_goes_away_does_not_hide_a_failure(tmp_path: Path) -> None:
    code = """
from exporter.commands import cli
from exporter.host.console import Console
from poolfold.errors import CheckFailed
def run(**_):
    Console().table("a table", ("a",), [("b",)] * 10_000)
    raise CheckFailed("it failed")
cli.cli.commands["verify"].callback = run
cli.main()
"""
    (tmp_path / "failing.py").write_text(code)
    done = shell(f'"$PYTHON" {tmp_path}/failing.py verify x | true')
    assert (done.returncode, done.stderr) == (1, "error: it failed\n")


@pytest.mark.e2e
def test_closed_and_narrow_streams_are_no_bug() -> None:
    assert shell("poolfold targets >&-").returncode == 0
    assert shell("poolfold verify /nowhere 2>&-").returncode == 2
    done = shell("poolfold verify /nöwhere", PYTHONIOENCODING="ascii")
    assert (done.returncode, "n\\xf6where" in done.stderr) == (2, True), done.stderr
    done = shell("poolfold targets --json", PYTHONIOENCODING="ascii")
    assert [target["name"] for target in json.loads(done.stdout)["targets"]] == [
        "onnxruntime",
        "openvino",
        "tensorrt",
        "tensorrt-rtx",
    ]
