"""The functions that users call: their examples run, the command line has their defaults, and their types hold."""

from __future__ import annotations

import doctest
import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import exporter
import poolfold
from exporter import api
from exporter.commands.cli import cli
from poolfold.errors import InputError
from tests.conftest import export_here

FUNCTIONS = {name: getattr(exporter, name) for name in exporter.__all__}
ROOT = Path(__file__).parents[2]


@pytest.mark.e2e
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_a_function_runs(
    name: str, checkpoint: Path, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(checkpoint, "checkpoint")
    if name == "build":
        export_here("checkpoint", Path("fp16-artifact"), dtypes=api_dtypes("fp16"))
    elif name != "export":
        shutil.copytree(artifact, "artifact")
    shutil.copyfile(ROOT / "tests" / "data" / "pairs.tsv", "pairs.tsv")
    (example,) = doctest.DocTestFinder(recurse=False).find(FUNCTIONS[name], name)
    assert example.examples
    result = doctest.DocTestRunner(verbose=False).run(example)
    assert result.failed == 0


def api_dtypes(*names: str) -> tuple[object, ...]:
    from exporter.spec.model import read_dtypes

    return read_dtypes(names)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_is_typed_and_at_most_two_are_required(name: str) -> None:
    parameters = inspect.signature(FUNCTIONS[name]).parameters.values()
    assert all(parameter.annotation is not parameter.empty for parameter in parameters)
    assert all(parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) for parameter in parameters)
    assert sum(parameter.default is parameter.empty for parameter in parameters) <= 2


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_command_line_has_each_parameter_and_its_default(name: str) -> None:
    command = cli.commands[name]
    options = {option.name: option for option in command.params}
    parameters = inspect.signature(FUNCTIONS[name]).parameters
    assert set(options) - {"as_json", "quiet"} == set(parameters) - {"console"}
    defaults = command.make_context(name, [], resilient_parsing=True).params
    for parameter in parameters.values():
        if parameter.default is not parameter.empty and parameter.name not in ("console", "texts", "columns"):
            got, expected = defaults[parameter.name], parameter.default
            assert (got or None) == (expected if expected not in ((), False) else None), parameter.name


@pytest.mark.slow
def test_a_users_program_passes_a_strict_type_check(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        """
from pathlib import Path

import numpy as np
import numpy.typing as npt

import exporter
import poolfold
from graphs.pooling.strategy import parse_strategy


def ship(model: str, out: Path) -> npt.NDArray[np.float32]:
    manifest = exporter.export(model, out, pooling=["mean"], dtypes=["fp32", "fp16"], targets=["onnxruntime"])
    assert [graph.status for graph in manifest.graphs]
    exporter.build(out, ["tensorrt-rtx"], seq_len=(1, 64, 256))
    worst: float = min(report.worst[0].cosine for report in exporter.validate(out, texts=["mine"]))
    median: float = exporter.bench(out, seconds=5).timings[0].latency_ms.median
    recommended: str = exporter.compare(out, "pairs.tsv").comparison.verdict.recommended
    print(worst, median, parse_strategy(recommended))
    with poolfold.load(out) as encoder:
        return encoder.encode(["one text"])
"""
    )
    (tmp_path / "wrong.py").write_text("import exporter\nexporter.export('m', 'out', pooling=3)\n")
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\n")
    # One run for both files: most of its time goes into the libraries that the packages import.
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "program.py", "wrong.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert 'wrong.py:2: error: Argument "pooling" to "export" has incompatible type "int"' in done.stdout
    assert "Found 1 error in 1 file" in done.stdout, done.stdout


def test_an_unknown_tokenizer_is_bad_input() -> None:
    with pytest.raises(InputError, match=r"tokenizer is 'hub'; expected 'file' or 'transformers'"):
        exporter.export("model", "out", tokenizer="hub")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"layout is 'flat'; expected 'hub' or 'poolfold'"):
        exporter.export("model", "artifact", layout="flat")  # type: ignore[arg-type]


def test_the_packages_say_that_they_are_typed() -> None:
    for package in (exporter, poolfold):
        assert (Path(package.__file__ or "").parent / "py.typed").is_file()
    assert (ROOT / "graphs" / "py.typed").is_file()
    assert api.QUIET is not None
