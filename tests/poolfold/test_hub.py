"""Artifacts by their hub ids, against a hub of our own on the loopback device."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import poolfold
from poolfold.errors import ArtifactError, InputError
from poolfold.hub import find_artifact
from tests.artifacts import expected, write_artifact
from tests.hub import COMMIT, NAME, environment, serve
from tests.terminal import most_bars_at_once, on_terminal, plain

ROOT = Path(__file__).parents[2]
TEXTS = ["w1 w2 w3", "w9"]
PROLOGUE = """
import json, pickle, sys
import poolfold
name, commit, folder, texts = json.loads(sys.argv[1])
def refused(*arguments, **options):
    try:
        poolfold.verify(*arguments, **options)
    except poolfold.PoolfoldError as error:
        return [type(error).__name__, str(error)]
"""
USE = """
import huggingface_hub
with poolfold.load(name, threads=1) as encoder:
    by_id = encoder.encode(texts).tolist()
    pickled = pickle.dumps(encoder)
    again = pickle.loads(pickled).encode(texts).tolist()
with poolfold.load(name, threads=1, revision="v1") as encoder:
    by_tag = encoder.encode(texts).tolist()
local = huggingface_hub.snapshot_download(name, local_dir=folder)
cached = huggingface_hub.snapshot_download(name)
vectors = [poolfold.load(place, threads=1).encode(texts).tolist() for place in (local, cached)]
poolfold.verify(name, revision=commit)
print(json.dumps({"vectors": [by_id, again, by_tag, *vectors], "pinned": commit.encode() in pickled, "cached": cached,
    "refusals": [refused(name, revision="v2"), refused("our/nothing"), refused(folder, revision="v1")]}))
"""
OFFLINE = """
with poolfold.load(name, threads=1) as encoder:
    print(json.dumps({"vectors": [encoder.encode(texts).tolist()], "refusals": [refused("our/other")]}))
"""


def run(code: str, settings: dict[str, str], *values: Any) -> dict[str, Any]:
    """Run code in a process of its own, since huggingface_hub reads its environment once."""
    arguments = json.dumps([NAME, COMMIT, *values, TEXTS])
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + code, arguments],
        env=settings, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.slow
def test_an_artifact_on_the_hub_loads_by_id_and_fetched_both_ways(tmp_path: Path) -> None:
    write_artifact(tmp_path / "pushed")
    for name in ("README.md", ".gitattributes", "model.safetensors"):
        (tmp_path / "pushed" / name).write_text("no part of the artifact")
    with serve(tmp_path / "pushed") as (address, requests):
        settings = environment(address, tmp_path / "home")
        answer = run(USE, settings, str(tmp_path / "local"))
        # Each snapshot begins with a question for its files; the second one is of the whole model, by several threads.
        by_id = requests[: [i for i, request in enumerate(requests) if "/api/" in request][1]]
        commands = ("verify", "inspect")
        for command in commands:
            done = subprocess.run(
                [sys.executable, "-m", "poolfold", command, NAME, "--revision", "v1", "--json"],
                env=settings, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
    for vectors in answer["vectors"]:
        np.testing.assert_array_equal(np.array(vectors, np.float32), expected(TEXTS))
    assert Path(answer["cached"], "onnx/mean_fp32.onnx").is_symlink(), "the premise: a snapshot of links"
    assert Path(answer["cached"]).name == COMMIT
    assert answer["pinned"], "a pickle names the commit that was loaded, not the branch"
    assert sum("resolve" in request and "GET" in request for request in by_id) == 4, "the files of the artifact alone"
    (revision, missing, folder) = answer["refusals"]
    assert revision == ["ArtifactError", f"{NAME} has no revision 'v2'. Give a branch, a tag or a commit."]
    assert missing[0] == "ArtifactError"
    assert missing[1].startswith("our/nothing is not a folder here, and the hub has no such public model.")
    assert folder[0] == "InputError"
    offline = run(OFFLINE, settings | {"HF_HUB_OFFLINE": "1"}, "")
    np.testing.assert_array_equal(np.array(offline["vectors"][0], np.float32), expected(TEXTS))
    assert "not in the local cache, and the hub cannot be reached" in offline["refusals"][0][1]


def test_a_directory_wins_over_an_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it were not installed
    manifest = write_artifact(tmp_path / "our/model")
    assert poolfold.verify("our/model") == manifest
    with pytest.raises(InputError, match=r"our/model is a directory, and revision 'main' was given"):
        poolfold.load("our/model", revision="main")


def test_without_the_library_its_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ArtifactError, match=r"our/model is not a folder here.*pip install .*\[hub\]'"):
        poolfold.load("our/model")


@pytest.mark.parametrize(
    "name", ["./our/model", "../model", "/our/model", "model", "our/own/model", "~/model", "a b/c"]
)
def test_what_is_no_id_stays_a_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_artifact(name) == Path(name)
    with pytest.raises(ArtifactError, match="is not an artifact: it does not exist"):
        poolfold.load(name)


@pytest.mark.slow
def test_a_download_is_the_progress_of_what_waits_for_it(tmp_path: Path) -> None:
    write_artifact(tmp_path / "pushed")
    (tmp_path / "texts.txt").write_text("w1 w2")
    embed = [
        "-m",
        "poolfold",
        "embed",
        NAME,
        "-i",
        str(tmp_path / "texts.txt"),
        "--force",
        "-o",
        str(tmp_path / "v.npy"),
    ]
    with serve(tmp_path / "pushed") as (address, _):
        said = on_terminal(embed, 80, environment(address, tmp_path / "home"))
        quiet = on_terminal([*embed, "-q"], 80, environment(address, tmp_path / "other"))
    assert most_bars_at_once(said) == 1
    assert re.search(r"find .* fetched \d+\.\d of \d+\.\d MiB", plain(said))
    assert "Fetching" not in said, "the library's own bar"
    assert "embed      1 text, mean fp32 on onnxruntime" in plain(said)
    assert quiet == ""
