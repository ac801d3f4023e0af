"""C++ refuses corrupted artifacts, and requests for what an artifact lacks, with the same facts as Python."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import poolfold
from poolfold.manifest import read_manifest
from tests.artifacts import write_artifact
from tests.cpp.conftest import Driver, as_cpp
from tests.poolfold.test_hostile_content import MANIFESTS, sealed

WEIGHTS = "onnx/model.onnx_data"


@pytest.fixture
def artifact(minilm: Path, tmp_path: Path) -> Path:
    """A copy to corrupt. The weights are a hard link until something writes to them."""
    folder = tmp_path / "artifact"
    shutil.copytree(minilm, folder, copy_function=os.link)
    return folder


def replace(path: Path, content: bytes) -> None:
    """Write a new file in place of a hard link."""
    path.unlink()
    path.write_bytes(content)


def change_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    replace(path, bytes(content))


def reseal(path: Path, fields: dict[str, Any]) -> None:
    fields = {"manifest_sha256": "0" * 64, **{k: v for k, v in fields.items() if k != "manifest_sha256"}}
    unsealed = json.dumps(fields, indent=2)
    seal = hashlib.sha256(unsealed.encode()).hexdigest()
    path.unlink(missing_ok=True)
    path.write_text(unsealed.replace("0" * 64, seal, 1), encoding="utf-8")


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    fields = json.loads((folder / "manifest.json").read_bytes())
    change(fields)
    reseal(folder / "manifest.json", fields)


def link_to_another(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("tokenizer.json")


def pipe(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)


def add(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x")


def seal_byte(folder: Path) -> None:
    text = (folder / "manifest.json").read_bytes()
    replace(folder / "manifest.json", text.replace(b'"nodes": ', b'"nodes":  ', 1))


CORRUPTIONS: dict[str, Callable[[Path], object]] = {
    "byte of the graph": lambda folder: change_byte(folder / "onnx/mean_fp32.onnx"),
    "byte of the padding-free graph": lambda folder: change_byte(folder / "onnx/mean_fp32_padding-free.onnx"),
    "byte of the weights": lambda folder: change_byte(folder / WEIGHTS),
    "byte of the tokenizer": lambda folder: change_byte(folder / "tokenizer.json"),
    "byte of the configuration": lambda folder: change_byte(folder / "config.json"),
    "white space in the manifest": seal_byte,
    "shortened weights": lambda folder: replace(folder / WEIGHTS, (folder / WEIGHTS).read_bytes()[:-1]),
    "missing": lambda folder: (folder / "tokenizer.json").unlink(),
    "missing manifest": lambda folder: (folder / "manifest.json").unlink(),
    "missing folder": lambda folder: shutil.rmtree(folder),
    "manifest is a folder": lambda folder: ((folder / "manifest.json").unlink(), (folder / "manifest.json").mkdir()),
    "extra": lambda folder: add(folder, "onnx/old.onnx"),
    "extra with a strange name": lambda folder: add(folder, 'it\'s \u00e9\u2028\n"so"\\.onnx'),
    "a name that is no UTF-8": lambda folder: add(folder, os.fsdecode(b"onnx/\xff\xe2\x82.bin")),
    "extra vocabulary": lambda folder: add(folder, "vocab.txt"),
    "extra engine": lambda folder: add(folder, "engines/tensorrt/a/MEAN.ENGINE"),
    "link to another file": link_to_another,
    "link to nothing": lambda folder: ((folder / "config.json").unlink(), (folder / "config.json").symlink_to("gone")),
    "link to itself": lambda f: ((f / "config.json").unlink(), (f / "config.json").symlink_to("config.json")),
    "a pipe for the tokenizer": lambda folder: pipe(folder, "tokenizer.json"),
    "a pipe for the manifest": lambda folder: pipe(folder, "manifest.json"),
    "eleven problems and more": lambda folder: [add(folder, f"onnx/extra/{number}.bin") for number in range(14)],
    "path that leaves": lambda folder: edit(folder, lambda f: f["files"][0].update(path="../config.json")),
    "listed twice": lambda folder: edit(folder, lambda f: f["files"].append(f["files"][0])),
    "not listed": lambda folder: edit(folder, lambda f: f.update(files=f["files"][:2])),
    "later version": lambda folder: edit(folder, lambda f: f.update(schema_version=2)),
    "earlier version": lambda folder: edit(folder, lambda f: f.update(schema_version=0)),
    "no version": lambda folder: edit(folder, lambda f: f.pop("schema_version")),
    "no seal": lambda folder: replace(folder / "manifest.json", b'{"schema_version": 1}'),
    "an array": lambda folder: replace(folder / "manifest.json", b"[]"),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_artifact(name: str, artifact: Path, cpp_build: Path, tmp_path: Path) -> None:
    CORRUPTIONS[name](artifact)
    with pytest.raises(poolfold.ArtifactError) as refusal:
        poolfold.load(artifact)
    ids, vectors = tmp_path / "ids.jsonl", tmp_path / "vectors.npy"
    ids.write_text("[101, 102]\n")
    done = subprocess.run(
        [cpp_build / "poolfold-embed", artifact, "-i", ids, "-o", vectors], capture_output=True, check=False
    )
    expected = f"error: {refusal.value}\n"
    assert (done.returncode, os.fsdecode(done.stderr)) == (poolfold.ArtifactError.exit_code, expected)
    assert not vectors.exists()


def test_a_manifest_that_is_no_json(artifact: Path, driver: Driver) -> None:
    replace(artifact / "manifest.json", b"{")
    with pytest.raises(poolfold.ArtifactError) as refusal:
        poolfold.verify(artifact)
    answer = driver.ask("verify", directory=str(artifact))
    expected = f"{artifact}/manifest.json is not JSON. Export the model again."
    assert (str(refusal.value), answer["message"]) == (expected, expected)


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_hostile_manifest_is_refused_as_in_python(name: str, tmp_path: Path, driver: Driver) -> None:
    write_artifact(tmp_path / "DIR")
    path = tmp_path / "DIR/manifest.json"
    before, after, _ = MANIFESTS[name]
    path.write_bytes(sealed(path.read_bytes(), before, after))
    with pytest.raises(poolfold.ArtifactError) as refusal:
        poolfold.load(path.parent)
    answer = driver.ask("load", directory=str(path.parent))
    assert answer["error"] == "ArtifactError"
    # Here a larger number is a float to the parser, and no integer of any size.
    assert name == "2^64 rows" or answer["message"] == str(refusal.value)


@pytest.mark.parametrize(
    "asked",
    [
        {"strategy": "max"},
        {"dtype": "fp16"},
        {"strategy": "cls", "dtype": "fp64"},
        {"threads": 0},
        {"threads": 2000},
        {"memory": 0},
    ],
)
def test_what_an_artifact_has_not(asked: dict[str, Any], minilm: Path, driver: Driver) -> None:
    with pytest.raises(poolfold.InputError) as refusal:
        poolfold.load(minilm, **asked)
    expected = {"error": "InputError", "message": as_cpp(str(refusal.value))}
    assert driver.ask("load", directory=str(minilm), **asked) == expected


def test_a_target_without_an_engine_is_an_artifact_error(minilm: Path, driver: Driver) -> None:
    answer = driver.ask("load", directory=str(minilm), target="tensorrt")
    assert answer["error"] == "ArtifactError"
    assert "poolfold build DIR --target tensorrt" in answer["message"]


def test_graphs_for_another_target_alone_are_told_as_in_python(artifact: Path, driver: Driver) -> None:
    made = {"target": "tensorrt-rtx", "floor": 0.99, "texts": 9, "layers": 4, "kept": None, "cosine": 1, "without": 1}
    edit(artifact, lambda fields: [graph.update(quantized=made) for graph in fields["graphs"]])
    with pytest.raises(poolfold.ArtifactError, match="no graph for target onnxruntime and strategy mean") as refusal:
        poolfold.load(artifact)
    expected = {"error": "ArtifactError", "message": as_cpp(str(refusal.value))}
    assert driver.ask("load", directory=str(artifact)) == expected


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


JSON = st.one_of(
    st.none(), st.booleans(), st.integers(-9, 9), st.floats(-9, 9), st.text(max_size=3), st.just([]), st.just({})
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), value=JSON, how=st.sampled_from(["replace", "drop", "add"]))
def test_a_malformed_manifest(minilm: Path, tmp_path: Path, driver: Driver, seed: int, value: object, how: str) -> None:
    """Any value at any place, sealed again: both read it, or both refuse it in the same words."""
    fields = copy.deepcopy(json.loads((minilm / "manifest.json").read_bytes()))
    place = random.Random(seed).choice([p for p in places(fields) if p and p[0] != "manifest_sha256"])
    parent = fields
    for key in place[:-1]:
        parent = parent[key]
    if how == "replace":
        parent[place[-1]] = value
    elif how == "drop":
        del parent[place[-1]]
    elif isinstance(parent, dict):
        parent["surprise"] = value
    reseal(tmp_path / "manifest.json", fields)
    answer = driver.ask("manifest", directory=str(tmp_path))
    try:
        read_manifest(tmp_path)
    except poolfold.ArtifactError as refusal:
        assert answer == {"error": "ArtifactError", "message": str(refusal)}
    else:
        assert answer == {}


def test_every_assigned_character_is_quoted_as_python_quotes_it(driver: Driver) -> None:
    """Surrogates stand for bytes of file names that are no UTF-8, and cannot be asked about."""
    text = "".join(c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) not in ("Cn", "Cs"))
    assert driver.ask("quote", text=text)["text"] == repr(text)


@settings(max_examples=150, deadline=None)
@given(text=st.text(st.characters(codec="utf-8", exclude_categories=["Cn"])))
def test_names_are_quoted_as_python_quotes_them(driver: Driver, text: str) -> None:
    assert driver.ask("quote", text=text)["text"] == repr(text)


@pytest.mark.parametrize(
    ("line", "words"),
    [("101 102", "line 1 of the input is no JSON array"), ("[]", "row 0 of input_ids holds no token")],
)
def test_the_example_refuses_bad_ids(line: str, words: str, minilm: Path, cpp_build: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [cpp_build / "poolfold-embed", minilm, "-o", tmp_path / "v.npy"],
        input=line,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == poolfold.InputError.exit_code
    assert words in done.stderr
    assert not (tmp_path / "v.npy").exists()


def test_the_example_writes_what_numpy_reads(minilm: Path, cpp_build: Path, tmp_path: Path) -> None:
    lines = "[101, 7592, 102]\n[101, 102]\n"
    subprocess.run([cpp_build / "poolfold-embed", minilm, "-o", tmp_path / "v.npy"], input=lines, text=True, check=True)
    vectors = np.load(tmp_path / "v.npy")
    assert (vectors.dtype, vectors.shape) == (np.float32, (2, 384))
    expected = poolfold.load(minilm).embed([[101, 7592, 102], [101, 102, 0]], [[1, 1, 1], [1, 1, 0]])
    assert np.abs(vectors - expected).max() <= 1e-6
