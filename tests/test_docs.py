"""The documents say what is: commands of the README run, links resolve, trees name real files."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.commands.cli import run_command
from tests.pages import read_blocks
from tests.rooms import PACKAGES, read_house

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.md")])
README = (ROOT / "README.md").read_text()
ARTIFACT = "artifacts/all-MiniLM-L6-v2"


def blocks(language: str) -> list[str]:
    return [block.text for block in read_blocks("README.md") if block.language == language]


COMMANDS = [line for block in blocks("bash") for line in block.splitlines() if line.startswith("poolfold ")]


@pytest.fixture
def place(artifact: Path, checkpoint: Path, tmp_path: Path) -> Path:
    """A working directory with an artifact where the README has one. Only the model is another: a tiny one."""
    shutil.copytree(artifact, tmp_path / ARTIFACT)
    shutil.copytree(checkpoint, tmp_path / "checkpoint")
    (tmp_path / "texts.txt").write_text("one text\nanother\n")
    shutil.copytree(ROOT / "tests" / "data", tmp_path / "tests" / "data")
    return tmp_path


@pytest.mark.parametrize("line", [line for line in COMMANDS if "export" not in line])
def test_a_command_of_the_readme_runs(
    line: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = shlex.split(line.replace("$MODEL", str(place / "checkpoint")))[1:]
    # What they cost is measured in the tests of each command.
    command += {"bench": ["--seconds", "1"], "compare": ["--skip-cost"]}.get(command[0], [])
    monkeypatch.chdir(place)
    assert run_command(command) == 0, capsys.readouterr().err
    assert capsys.readouterr().out


@pytest.mark.e2e
def test_the_export_of_the_readme_runs(checkpoint: Path, tmp_path: Path) -> None:
    (line,) = [line.replace("\\\n", " ") for block in blocks("bash") for line in [block] if "poolfold export" in line]
    command = shlex.split(line)[1:]
    # The hub is out of reach of a test: the same command with a folder.
    command[1] = str(checkpoint)
    main = "from exporter.commands.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", main, *command, "--skip-latency"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "artifacts" / "minilm" / "manifest.json").exists()


@pytest.mark.xdist_group("minilm")
def test_the_python_of_the_readme_prints_what_it_says(minilm_artifact: Path, tmp_path: Path) -> None:
    (code,) = blocks("python")
    said = README[README.index(code) + len(code) :].split("```")[2]
    (tmp_path / "artifacts").mkdir()
    (tmp_path / ARTIFACT).symlink_to(minilm_artifact)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, said.strip()), done.stderr


def test_a_visitor_sees_the_library_within_the_first_lines() -> None:
    assert "import poolfold" in "\n".join(README.splitlines()[:60])


def test_the_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = re.findall(r"^make (\w+)$", "\n".join(blocks("bash")), re.MULTILINE)
    assert named == ["demo", "test"]
    assert all(re.search(rf"^{name}:", makefile, re.MULTILINE) for name in named)
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_what_an_index_of_packages_shows_has_no_link_into_the_repository() -> None:
    assert re.findall(r"\]\((?!https://)", (ROOT / "docs" / "package.md").read_text()) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_resolve(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        assert target.startswith("http") or (document.parent / target).exists(), target


def test_the_architecture_tells_every_room_and_its_floor() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    tree = text[text.index("exporter/                  floor") : text.index("## Why these")]
    package, told = "", {}
    for line in tree.splitlines():
        if line.partition("/")[0] in PACKAGES:
            package = line.partition("/")[0]
        elif room := re.match(r"  (\w+)(?:/|\.py) +(\d)  ", line):
            told[package, room[1]] = int(room[2])
    houses = {name: read_house(name).floors for name in PACKAGES}
    assert told == {(name, room): floor for name, floors in houses.items() for room, floor in floors.items()}


def test_the_changelog_names_the_version() -> None:
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert f"## {version.group(1)}" in (ROOT / "CHANGELOG.md").read_text()
