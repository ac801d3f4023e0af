"""`poolfold push`, against a hub of our own on the loopback device."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.artifacts import expected, model_values, text_values, write_artifact
from tests.hub import COMMIT, NAME, TOKEN, environment, serve

pytestmark = pytest.mark.slow
LOAD = f"import poolfold; print(poolfold.load({NAME!r}).encode(['w1 w2']).tolist()); poolfold.verify({NAME!r})"


class Hub:
    """A repository, and what a user runs against it."""

    def __init__(self, address: str, requests: list[str], folder: Path, home: Path) -> None:
        self.requests, self.folder, self._home, self._address = requests, folder, home, address
        self.calls = 0

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        # A cache of its own for each call: here every commit has one name.
        self.calls += 1
        settings = environment(self._address, self._home / str(self.calls)) | {"HF_TOKEN": TOKEN} | variables
        return subprocess.run(
            [sys.executable, *arguments], env=settings, cwd=Path(__file__).parents[2], capture_output=True, text=True,
            timeout=120,
        )  # fmt: skip

    def push(self, directory: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "poolfold", "push", str(directory), NAME, *options, **variables)

    @property
    def files(self) -> set[str]:
        return {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / ".gitattributes").write_text("*.onnx filter=lfs")
    with serve(tmp_path / "hub") as (address, requests):
        yield Hub(address, requests, tmp_path / "hub", tmp_path / "home")


def files_of(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def test_what_was_pushed_loads_and_verifies(hub: Hub, tmp_path: Path):
    write_artifact(tmp_path / "DIR")
    (tmp_path / "DIR" / "README.md").write_text("the model card")
    (tmp_path / "DIR" / "notes.txt").write_text("mine")
    done = hub.push(tmp_path / "DIR", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"directory": str(tmp_path / "DIR"), "repo": NAME, "commit": COMMIT, "files": 3}
    assert hub.files == files_of(tmp_path / "DIR") - {"notes.txt"} | {".gitattributes"}
    assert sum("/commit/" in request for request in hub.requests) == 1
    loaded = hub.run("-c", LOAD)
    assert loaded.returncode == 0, loaded.stderr
    np.testing.assert_array_equal(np.array(json.loads(loaded.stdout), np.float32), expected(["w1 w2"]))


def test_a_second_push_takes_away_what_the_first_had_and_nothing_else(hub: Hub, tmp_path: Path):
    write_artifact(tmp_path / "wide", strategies=("mean", "cls"))
    write_artifact(tmp_path / "narrow")
    assert hub.push(tmp_path / "wide").returncode == 0
    (hub.folder / "notes.txt").write_text("theirs")
    (hub.folder / "README.md").write_text("theirs")
    done = hub.push(tmp_path / "narrow")
    assert done.returncode == 0, done.stderr
    assert hub.files == files_of(tmp_path / "narrow") | {".gitattributes", "notes.txt", "README.md"}
    assert hub.run("-c", LOAD).returncode == 0


def test_another_models_files_are_kept_unless_forced(hub: Hub, tmp_path: Path):
    for name in ("tokenizer.json", "model.safetensors", "README.md"):
        (hub.folder / name).write_text("theirs")
    write_artifact(tmp_path / "DIR")
    (tmp_path / "DIR" / "README.md").write_text("ours")
    done = hub.push(tmp_path / "DIR")
    assert done.returncode == 2
    assert "our/model holds tokenizer.json, and is no artifact" in done.stderr
    assert (hub.folder / "tokenizer.json").read_text() == "theirs"
    assert not any("/commit/" in request for request in hub.requests)
    assert hub.push(tmp_path / "DIR", "--force").returncode == 0
    assert hub.files == files_of(tmp_path / "DIR") | {".gitattributes", "model.safetensors"}
    assert (hub.folder / "README.md").read_text() == "ours"


def test_a_model_card_that_is_there_is_kept(hub: Hub, tmp_path: Path):
    (hub.folder / "README.md").write_text("theirs")
    write_artifact(tmp_path / "DIR")
    (tmp_path / "DIR" / "README.md").write_text("ours")
    assert hub.push(tmp_path / "DIR").returncode == 0
    assert (hub.folder / "README.md").read_text() == "theirs"


def test_who_may_not_write_is_told_before_anything_is_sent(hub: Hub, tmp_path: Path):
    write_artifact(tmp_path / "DIR")
    for token in ("hf_other", ""):
        done = hub.push(tmp_path / "DIR", HF_TOKEN=token)
        assert done.returncode == 2, done.stderr
        assert "hf auth login" in done.stderr
    assert not any("POST" in request for request in hub.requests)


def test_an_artifact_that_differs_is_not_pushed(hub: Hub, tmp_path: Path):
    write_artifact(tmp_path / "DIR")
    (tmp_path / "DIR" / "tokenizer.json").write_text("{}")
    done = hub.push(tmp_path / "DIR")
    assert done.returncode == 2
    assert "tokenizer.json" in done.stderr
    assert hub.requests == []


@pytest.mark.parametrize("options", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_without_a_hub_it_says_so(hub: Hub, tmp_path: Path, options: dict[str, str]):
    write_artifact(tmp_path / "DIR")
    done = hub.push(tmp_path / "DIR", **options)
    assert done.returncode == 2
    assert "push again" in done.stderr


def test_a_name_that_is_no_id_is_refused(hub: Hub, tmp_path: Path):
    write_artifact(tmp_path / "DIR", model=model_values(text=text_values()))
    done = hub.run("-m", "poolfold", "push", str(tmp_path / "DIR"), "minilm")
    assert done.returncode == 2
    assert "minilm is no hub id. Expected owner/name." in done.stderr
