import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from poolfold.errors import ArtifactError
from poolfold.manifest import MANIFEST_NAME, File, Manifest
from poolfold.verify import describe, verify
from poolfold.verify.files import _PIECE, OpenFile
from poolfold.verify.unlisted import list_others
from tests.artifacts import rewrite_manifest, write_artifact

Artifact = tuple[Path, Manifest]


def test_an_untouched_artifact_passes(artifact: Artifact):
    directory, manifest = artifact
    assert verify(directory) == manifest


def test_describe_gives_size_and_hash(tmp_path: Path):
    content = bytes(range(256)) * 5000
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.bin").write_bytes(content)
    expected = File(path="a/b.bin", bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    assert describe(tmp_path, tmp_path / "a" / "b.bin") == expected


def test_a_changed_byte_in_any_file_is_found(artifact: Artifact):
    directory, manifest = artifact
    paths = [file.path for file in manifest.files]
    assert len(paths) == 7
    for path in [*paths, MANIFEST_NAME]:
        before = (directory / path).read_bytes()
        for place in (0, len(before) // 2, len(before) - 1):
            damaged = bytearray(before)
            damaged[place] ^= 1
            (directory / path).write_bytes(damaged)
            with pytest.raises(ArtifactError, match=f"{path}.*changed|{path} is not"):
                verify(directory)
        (directory / path).write_bytes(before)
    verify(directory)


def test_a_file_of_another_size_is_found(artifact: Artifact):
    directory, _ = artifact
    with (directory / "tokenizer.json").open("ab") as file:
        file.write(b"\n")
    with pytest.raises(ArtifactError, match=r"'tokenizer\.json': \d+ bytes, expected \d+"):
        verify(directory)


def test_any_missing_file_is_found(artifact: Artifact):
    directory, manifest = artifact
    for entry in manifest.files:
        away = (directory / entry.path).rename(directory.parent / "away")
        with pytest.raises(ArtifactError, match=f"'{entry.path}': missing"):
            verify(directory)
        away.rename(directory / entry.path)
    verify(directory)


@pytest.mark.parametrize(
    "extra",
    [
        *(
            "onnx/model.onnx",
            "onnx/model.onnx_data",
            "onnx/model.onnx_data_1",
            "onnx/weights_fp16.bin",
            "onnx/a/b.ONNX",
        ),
        *("engines/tensorrt/mean_fp16.engine", "openvino/openvino_model.xml", "openvino/openvino_model.bin"),
        *("model.onnx", "vocab.txt", "vocab.json", "merges.txt", "tokenizer.model", "sentencepiece.bpe.model"),
        *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "modules.json", "config.json"),
    ],
)
def test_what_could_be_taken_for_a_part_is_found(artifact: Artifact, extra: str):
    directory, _ = artifact
    (directory / extra).parent.mkdir(parents=True, exist_ok=True)
    (directory / extra).touch()
    with pytest.raises(ArtifactError) as caught:
        verify(directory)
    assert f"{extra!r}: an extra file" in str(caught.value)


OTHERS = {
    **dict.fromkeys([".git/config", ".git/objects/ab/model.onnx"], ".git/"),
    **dict.fromkeys([".gitattributes", ".gitignore", "README.md", "LICENSE", ".DS_Store", "a\\b", "notes.txt"]),
    ".cache/huggingface/download/onnx/mean_fp32.onnx.metadata": ".cache/",
    "lost+found/": "lost+found/",
    "engines/none/at/": "engines/none/at/",
    "onnx/._mean_fp32.onnx": None,
    "onnx/.cache/x.onnx": "onnx/.cache/",
    "onnx/manifest.json": None,
    "1_Pooling/config.json": "1_Pooling/",
}
"""What lies beside an artifact where people keep artifacts -> its name in a list; None for the same name."""


def test_what_cannot_be_taken_for_a_part_is_listed_and_not_read(artifact: Artifact):
    directory, manifest = artifact
    for name in OTHERS:
        path = directory / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.symlink_to("/nowhere")  # which cannot be read
    os.mkfifo(directory / "pipe")
    assert verify(directory) == manifest
    apart, mistakable = list_others(directory, manifest)
    # A folder without a file holds nothing that could be named.
    expected = {listed or name for name, listed in OTHERS.items()} - {"engines/none/at/"} | {"pipe"}
    assert (set(apart), mistakable) == (expected, ())


def test_links_to_the_right_bytes_pass_and_to_others_do_not(artifact: Artifact):
    directory, manifest = artifact
    blobs = directory.parent / "blobs"
    blobs.mkdir()
    for path in [*(file.path for file in manifest.files), MANIFEST_NAME]:
        blob = blobs / hashlib.sha256(path.encode()).hexdigest()
        (directory / path).rename(blob)
        (directory / path).symlink_to(os.path.relpath(blob, (directory / path).parent))
    assert verify(directory) == manifest
    (directory / "tokenizer.json").unlink()
    (directory / "tokenizer.json").symlink_to("onnx/cls_fp32.onnx")
    with pytest.raises(ArtifactError, match=r"'tokenizer\.json': \d+ bytes, expected"):
        verify(directory)
    (directory / "tokenizer.json").unlink()
    (directory / "tokenizer.json").symlink_to("gone")
    with pytest.raises(ArtifactError, match=r"'tokenizer\.json': missing"):
        verify(directory)


@pytest.mark.parametrize("name", ["onnx", MANIFEST_NAME])
def test_a_linked_directory_or_manifest_passes(artifact: Artifact, name: str):
    directory, manifest = artifact
    (directory / name).rename(directory.parent / "outside")
    (directory / name).symlink_to(directory.parent / "outside")
    assert verify(directory) == manifest
    (directory / "onnx/old.onnx").touch()
    with pytest.raises(ArtifactError, match=r"'onnx/old\.onnx': an extra file"):
        verify(directory)


def test_a_string_names_a_directory(artifact: Artifact):
    directory, manifest = artifact
    assert verify(str(directory)) == manifest


def test_an_artifact_behind_a_link_passes(artifact: Artifact):
    directory, manifest = artifact
    current = directory.parent / "current"
    current.symlink_to(directory)
    assert verify(current) == manifest


@pytest.mark.parametrize("name", ["tokenizer.json", MANIFEST_NAME])
def test_a_pipe_is_found_and_not_waited_for(artifact: Artifact, name: str):
    directory, _ = artifact
    (directory / name).unlink()
    os.mkfifo(directory / name)
    with pytest.raises(ArtifactError, match=f"{name}.*not a regular file"):
        verify(directory)


@pytest.mark.parametrize(
    "path",
    [
        "../outside",
        "onnx/../../outside",
        "onnx/../tokenizer.json",
        "/etc/hostname",
        "./tokenizer.json",
        "onnx//mean_fp32.onnx",
        "onnx\\mean_fp32.onnx",
        "..\\outside",
        "C:/outside",
        "C:outside",
        "nul\0byte",
        "",
        ".",
        "onnx/",
        MANIFEST_NAME,
    ],
)
def test_a_listed_path_that_leaves_the_artifact_is_refused(artifact: Artifact, path: str):
    directory, manifest = artifact
    (directory.parent / "outside").write_bytes(b"x")
    entry = File(path=path, bytes=1, sha256=hashlib.sha256(b"x").hexdigest())
    rewrite_manifest(directory, manifest, files=(*manifest.files, entry))
    with pytest.raises(ArtifactError) as caught:
        verify(directory)
    assert f"{path!r}: the manifest lists a path that is not plain" in str(caught.value)


def test_a_path_listed_twice_is_refused(artifact: Artifact):
    directory, manifest = artifact
    rewrite_manifest(directory, manifest, files=(*manifest.files, manifest.files[-1]))
    with pytest.raises(ArtifactError, match=r"'tokenizer\.json': listed twice"):
        verify(directory)


@pytest.mark.parametrize(("kind", "field"), [("graphs", "path"), ("graphs", "weights"), ("engines", "path")])
def test_a_graph_or_engine_that_names_an_unlisted_file_is_refused(artifact: Artifact, kind: str, field: str):
    directory, manifest = artifact
    first, *rest = getattr(manifest, kind)
    changed = msgspec.structs.replace(first, **{field: "../elsewhere"})
    rewrite_manifest(directory, manifest, **{kind: (changed, *rest)})
    with pytest.raises(ArtifactError, match=r"'\.\./elsewhere': named by a graph or an engine"):
        verify(directory)


def test_all_problems_are_told_and_a_long_list_is_cut(artifact: Artifact):
    directory, _ = artifact
    (directory / "tokenizer.json").unlink()
    for index in range(14):
        (directory / f"extra{index:02}.onnx").touch()
    with pytest.raises(ArtifactError, match="missing") as caught:
        verify(directory)
    assert str(caught.value).count("an extra file") == 9
    assert "and 5 more" in str(caught.value)


@pytest.mark.parametrize("kind", ["nothing", "a file", "no manifest", "manifest is a directory"])
def test_what_is_no_artifact_is_refused(tmp_path: Path, kind: str):
    directory = tmp_path / "DIR"
    if kind == "a file":
        directory.touch()
    elif kind != "nothing":
        directory.mkdir()
    if kind == "manifest is a directory":
        (directory / MANIFEST_NAME).mkdir()
    with pytest.raises(ArtifactError, match=r"not an artifact|not a regular file"):
        verify(directory)


@pytest.mark.parametrize("kind", ["name too long", "link to itself"])
def test_a_directory_that_cannot_be_read_is_an_artifact_error(tmp_path: Path, kind: str):
    directory = tmp_path / ("a" * 300 if kind == "name too long" else "loop")
    if kind == "link to itself":
        directory.symlink_to(directory)
    with pytest.raises(ArtifactError, match="cannot be read"):
        verify(directory)


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A folder that a user without privileges reads; the test runs as one, since root reads everything."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    me = os.geteuid()
    try:
        yield folder
    finally:
        if os.geteuid() != me:
            os.seteuid(me)
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["onnx", MANIFEST_NAME, "tokenizer.json"])
def test_what_may_not_be_read_is_told_from_what_is_damaged(ordinary_user: Path, name: str):
    directory = ordinary_user / "DIR"
    write_artifact(directory)
    (directory / "lost+found").mkdir(mode=0)
    (directory / name).chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    with pytest.raises(ArtifactError, match=r"(?s)cannot be read.*Permission denied") as caught:
        verify(directory)
    assert "differs" not in str(caught.value).replace("\n", " ")
    assert "ermissions" in str(caught.value)


def test_a_folder_that_nobody_may_read_is_no_part(ordinary_user: Path):
    directory = ordinary_user / "DIR"
    manifest = write_artifact(directory)
    (directory / "lost+found").mkdir(mode=0)
    (directory / "engines").mkdir(mode=0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    assert verify(directory) == manifest
    assert list_others(directory, manifest).apart == ("engines/", "lost+found/")


def test_a_future_schema_is_refused(artifact: Artifact):
    directory, manifest = artifact
    rewrite_manifest(directory, manifest, schema_version=2)
    with pytest.raises(ArtifactError, match="schema version 2"):
        verify(directory)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("size", [0, 1, _PIECE - 1, _PIECE, _PIECE + 1, 3 * _PIECE + 5])
def test_a_hash_is_that_of_the_whole_file_and_of_what_is_kept(tmp_path: Path, size: int, keep: bool):
    content = np.random.default_rng(size).bytes(size)
    (tmp_path / "file").write_bytes(content)
    file = OpenFile(tmp_path / "file")
    assert file.hash(keep=keep) == hashlib.sha256(content).hexdigest()
    assert file.is_mapped is not keep
    assert bytes(file.data) == content if keep or not size else file.data[:] == content


@pytest.mark.parametrize("keep", [False, True])
def test_each_byte_is_read_once_and_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool):
    content = np.random.default_rng(0).bytes(5 * _PIECE + 3)
    (tmp_path / "file").write_bytes(content)
    counts: list[int] = []

    class Counting(io.FileIO):
        def readinto(self, buffer: Any, /) -> int:
            counts.append(super().readinto(buffer))
            return counts[-1]

    monkeypatch.setattr(io, "FileIO", Counting)
    assert OpenFile(tmp_path / "file").hash(keep=keep) == hashlib.sha256(content).hexdigest()
    assert sum(counts) == len(content)
    assert max(counts) <= _PIECE
