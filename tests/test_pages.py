"""docs/runtime.md and docs/search.md, block by block; and that every argument of the runtime is told."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import poolfold
from tests.pages import ROOT, read_blocks

ARTIFACT = "artifacts/all-MiniLM-L6-v2"
RUNTIME = (ROOT / "docs" / "runtime.md").read_text()


def run(folder: Path, *command: str) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def linked(artifact: Path, folder: Path) -> Path:
    """A folder with the artifact where the pages have it."""
    (folder / "artifacts").mkdir()
    (folder / ARTIFACT).symlink_to(artifact)
    return folder


@pytest.mark.slow
def test_the_code_of_the_runtime_page_runs(artifact: Path, tmp_path: Path) -> None:
    programs = [block.text for block in read_blocks("docs/runtime.md") if block.language == "python"]
    assert len(programs) == 9
    out = run(linked(artifact, tmp_path), sys.executable, "-c", "\n".join(programs))
    assert "\ntexts done: 1\n" in out
    assert out.endswith("Pass list(texts.values()).\n")


@pytest.mark.slow
def test_the_code_of_the_integrations_page_runs(artifact: Path, tmp_path: Path) -> None:
    folder = linked(artifact, tmp_path)
    programs = [block.text for block in read_blocks("docs/integrations.md") if block.language == "python"]
    assert len(programs) == 8
    assert run(folder, sys.executable, "-c", "\n".join(programs))


@pytest.mark.slow
def test_the_code_of_the_bulk_page_runs(artifact: Path, tmp_path: Path) -> None:
    folder = linked(artifact, tmp_path)
    programs = [block.text for block in read_blocks("docs/bulk.md") if block.language == "python"]
    assert len(programs) == 2
    for program in programs:
        run(folder, sys.executable, "-c", program.replace("artifacts/", f"{folder}/artifacts/"))


@pytest.mark.parametrize("function", [poolfold.load, poolfold.Encoder.encode, poolfold.Encoder.embed])
def test_every_argument_of_the_runtime_is_on_its_page(function: object) -> None:
    assert callable(function)
    arguments = [name for name in inspect.signature(function).parameters if name != "self"]
    assert [name for name in arguments if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", RUNTIME)] == []


def test_every_error_of_the_runtime_is_on_its_page() -> None:
    raised = {name for name in poolfold.__all__ if isinstance(getattr(poolfold, name), type)} - {"Encoder"}
    assert {name for name in raised if f"`{name}`" not in RUNTIME and f"poolfold.{name}" not in RUNTIME} == {
        "CheckpointError"  # of an export
    }


@pytest.mark.slow
@pytest.mark.xdist_group("minilm")
def test_the_search_page_finds_what_it_says(minilm_artifact: Path, tmp_path: Path) -> None:
    _, embed, search, said = read_blocks("docs/search.md")
    folder = linked(minilm_artifact, tmp_path)
    assert run(folder, "bash", "-ec", embed.text) == "passages.npy: float32 [4, 384]\n"
    assert run(folder, sys.executable, "-c", search.text) == said.text
