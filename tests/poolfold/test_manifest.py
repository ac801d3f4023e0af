import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolfold.errors import ArtifactError
from poolfold.manifest import (
    SCHEMA_VERSION,
    USUAL_RUN_MEMORY,
    Executor,
    Manifest,
    RunMemory,
    TokenizerExample,
    TokenizerReading,
    dumps,
    loads,
    read_manifest,
)
from tests.artifacts import seal, write_artifact


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_artifact(tmp_path_factory.mktemp("manifest") / "artifact", engines=("tensorrt-rtx",))


def fields(manifest: Manifest) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(dumps(manifest))
    del values["manifest_sha256"]
    return values


def test_what_is_written_is_read(manifest: Manifest):
    assert loads(dumps(manifest)) == manifest


def test_what_it_tells_of_the_tokenizer_is_optional_and_checked(manifest: Manifest):
    values = fields(manifest)
    del values["model"]["tokenizer"]
    assert loads(seal(values)).model.tokenizer is None
    example = {"text": "a", "file": [1, 2], "transformers": [1]}
    values["model"]["tokenizer"] = {"source": "file", "texts": 9, "differ": 1, "example": example}
    reading = TokenizerReading(
        source="file", texts=9, differ=1, example=TokenizerExample(text="a", file=(1, 2), transformers=(1,))
    )
    assert loads(seal(values)).model.tokenizer == reading
    example["file"] = [1, "2"]
    with pytest.raises(ArtifactError, match=r"got `str` - at `\$\.model\.tokenizer\.example\.file\[1\]`"):
        loads(seal(values))


def test_what_a_run_takes_is_optional_and_checked(manifest: Manifest):
    values, path = fields(manifest), manifest.graphs[0].path
    del values["graphs"][0]["run_memory"]
    old = loads(seal(values))
    assert old.graphs[0].run_memory is None
    assert old.run_memory(path) == old.run_memory("no/graph") == USUAL_RUN_MEMORY
    values["graphs"][0]["run_memory"] = {"token_bytes": 40000, "score_bytes": 48, "mask_bytes": 0}
    told = RunMemory(token_bytes=40000, score_bytes=48, mask_bytes=0)
    assert loads(seal(values)).run_memory(path) == told
    for size in (-1, 2**31):
        values["graphs"][0]["run_memory"]["score_bytes"] = size
        with pytest.raises(ArtifactError, match=rf"graphs\[0\]\.run_memory\.score_bytes is {size}; expected 0 to 2147"):
            loads(seal(values))


def test_another_writer_can_seal(manifest: Manifest):
    assert loads(seal(fields(manifest))) == manifest


def test_every_changed_byte_is_found(manifest: Manifest):
    data = dumps(manifest)
    survivors = []
    for place in range(len(data)):
        for change in (0x01, 0x10, 0x20, 0x80):
            damaged = bytearray(data)
            damaged[place] ^= change
            try:
                loads(bytes(damaged))
            except ArtifactError:
                continue
            survivors.append((place, change))
    assert len(data) > 1000
    assert survivors == []


@given(place=st.integers(0, 10**6), inserted=st.binary(max_size=3), dropped=st.integers(0, 40))
def test_a_cut_or_an_insertion_is_found(manifest: Manifest, place: int, inserted: bytes, dropped: int):
    data = dumps(manifest)
    place %= len(data) + 1
    damaged = data[:place] + inserted + data[place + dropped :]
    if damaged == data:
        assert loads(damaged) == manifest
    else:
        with pytest.raises(ArtifactError):
            loads(damaged)


@pytest.mark.parametrize("version", [SCHEMA_VERSION + 1, 10**6])
def test_a_future_version_says_so(manifest: Manifest, version: int):
    with pytest.raises(ArtifactError, match=rf"schema version {version}; this poolfold reads up to .*Upgrade"):
        loads(seal({**fields(manifest), "schema_version": version}))


def test_a_future_version_says_so_even_if_sealed_otherwise(manifest: Manifest):
    future = {**fields(manifest), "schema_version": SCHEMA_VERSION + 1, "seal": "another kind"}
    with pytest.raises(ArtifactError, match="Upgrade"):
        loads(json.dumps(future).encode())


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"colour": "blue"}, "colour"),
        ({"schema_version": 0}, "schema version 0"),
        ({"schema_version": "1"}, "schema_version"),
        ({"schema_version": True}, "schema_version"),
        ({"files": [{"path": "a", "bytes": "3", "sha256": "0"}]}, r"files\[0\]\.bytes"),
        ({"files": [{"path": "a", "bytes": 3}]}, r"sha256.*files\[0\]"),
        ({"model": None}, r"\$\.model"),
    ],
)
def test_a_sealed_manifest_of_another_form_is_malformed(manifest: Manifest, changes: dict[str, Any], place: str):
    with pytest.raises(ArtifactError, match=place):
        loads(seal({**fields(manifest), **changes}))


@pytest.mark.parametrize("key", ["model", "files", "engines", "schema_version"])
def test_a_missing_key_is_found(manifest: Manifest, key: str):
    values = fields(manifest)
    del values[key]
    with pytest.raises(ArtifactError, match=key):
        loads(seal(values))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"7", b"{}", b"\xff\xfe", b'{"schema_version": 1}'])
def test_something_else_is_no_manifest(data: bytes):
    with pytest.raises(ArtifactError, match="manifest"):
        loads(data)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("empty", r"has no manifest\.json\. Expected a directory from `poolfold export`\.$"),
        ("all", r"has no manifest\.json\. It holds \S*/all/minilm, \S*/all/more/e5\. Give one of these"),
        ("all/minilm/onnx", r"has no manifest\.json\. It lies in the artifact \S*/all/minilm\. Give that"),
        ("all/minlm", r"does not exist\. Expected .*\. Did you mean \S*/all/minilm\?$"),
        ("all/zzz", r"does not exist\. Expected a directory from `poolfold export`\.$"),
        ("model", r"is a model\. Make an artifact of it: `poolfold export \S*/model -o ARTIFACT`"),
    ],
)
def test_no_manifest_says_what_was_probably_meant(place: str, message: str, tmp_path: Path):
    for name in ("empty", "all/minilm/onnx", "all/more/e5", "model"):
        (tmp_path / name).mkdir(parents=True)
    for file in ("all/minilm/manifest.json", "all/more/e5/manifest.json", "model/model.safetensors"):
        (tmp_path / file).write_text("{}")
    with pytest.raises(ArtifactError, match=message):
        read_manifest(tmp_path / place)


@pytest.mark.parametrize(
    ("name", "executor"),
    [
        ("onnxruntime cpu", Executor(target="onnxruntime", device="cpu")),
        ("onnxruntime cpu, padding-free", Executor(target="onnxruntime", device="cpu", form="padding-free")),
        ("onnxruntime cuda", Executor(target="onnxruntime", device="cuda")),
        ("fp16 rehearsal on onnxruntime cpu", Executor(target="onnxruntime", device="cpu", rehearsed=True)),
        ("openvino cpu", Executor(target="openvino", device="cpu")),
        ("tensorrt-rtx gpu, packed", Executor(target="tensorrt-rtx", device="gpu", form="packed")),
    ],
)
def test_an_executor_is_read_from_its_name(name: str, executor: Executor) -> None:
    assert str(executor) == name
    assert Executor.parse(name) == executor


def test_parity_rows_of_0_1_0_get_their_executor_and_a_name_that_is_none_is_refused(tmp_path: Path) -> None:
    manifest = write_artifact(tmp_path / "DIR")
    check = {"value": 1.0, "limit": None, "passed": True}
    row = {
        "strategy": "mean", "dtype": "fp32", "executor": "onnxruntime cpu, packed", "reference": "PyTorch",
        "passed": True, "texts": 84, "checks": {"cosine": check}, "worst": [{"text": "'a'", "cosine": 1.0}],
    }  # fmt: skip
    values = msgspec.to_builtins(manifest)
    read = loads(seal({**values, "parity": [row]}))
    assert read.parity[0].ran_on == Executor(target="onnxruntime", device="cpu", form="packed")
    assert read.parity[0].checks["cosine"].passed
    with pytest.raises(ArtifactError, match=r"got 'somewhere' - at `\$\.parity\[0\]\.executor`"):
        loads(seal({**values, "parity": [row | {"executor": "somewhere"}]}))
