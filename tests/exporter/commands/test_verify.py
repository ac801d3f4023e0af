"""`poolfold verify`: says what it checked. What it refuses is in test_bad_input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exporter.commands.cli import run_command
from tests.artifacts import write_artifact


def test_an_intact_artifact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = write_artifact(tmp_path / "a")
    paths = [path for path in (tmp_path / "a").rglob("*") if path.is_file() and path.name != "manifest.json"]
    size = sum(path.stat().st_size for path in paths)
    assert run_command(["verify", str(tmp_path / "a"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "directory": str(tmp_path / "a"),
        "files": len(manifest.files),
        "bytes": size,
        "intact": True,
        "others": [],
    }
    assert len(paths) == len(manifest.files)
    assert run_command(["verify", str(tmp_path / "a")]) == 0
    said = f"{tmp_path / 'a'}: {len(paths)} files, 0.0 MiB, all as the manifest says\n"
    assert capsys.readouterr() == (said, "")


def test_one_that_differs_ends_with_1_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_artifact(tmp_path / "a")
    (tmp_path / "a" / "tokenizer.json").write_text("{}")
    assert run_command(["verify", str(tmp_path / "a"), "--json"]) == 1
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert (answer["intact"], answer["differs"][0].split(",")[0]) == (False, "'tokenizer.json': 2 bytes")
    assert "'tokenizer.json': 2 bytes, expected" in err


def test_what_is_no_part_of_it_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_artifact(tmp_path / "a")
    (tmp_path / "a/.git").mkdir()
    (tmp_path / "a/README.md").write_text("a model card")
    assert run_command(["verify", str(tmp_path / "a")]) == 0
    assert "Not part of the artifact, and not read: '.git/', 'README.md'" in capsys.readouterr().out
    assert run_command(["verify", str(tmp_path / "a"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["others"] == [".git/", "README.md"]
