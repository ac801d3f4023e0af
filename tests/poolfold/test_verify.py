import hashlib
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from poolfold.errors import ArtifactError
from poolfold.manifest import MANIFEST_NAME, File, Manifest
from poolfold.verify import describe, verify
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


@pytest.mark.parametrize("extra", ["new.txt", ".hidden", "onnx/manifest.json", "deep/er/file", "a\\b"])
def test_an_extra_file_is_found(artifact: Artifact, extra: str):
    directory, _ = artifact
    (directory / extra).parent.mkdir(parents=True, exist_ok=True)
    (directory / extra).touch()
    with pytest.raises(ArtifactError) as caught:
        verify(directory)
    assert f"{extra!r}: an extra file" in str(caught.value)


@pytest.mark.parametrize("extra", ["empty", "engines/none/at/all"])
def test_an_empty_directory_is_found(artifact: Artifact, extra: str):
    directory, _ = artifact
    (directory / extra).mkdir(parents=True)
    with pytest.raises(ArtifactError, match=f"'{extra}': an empty directory"):
        verify(directory)


def test_a_symbolic_link_is_found_though_its_content_is_right(artifact: Artifact):
    directory, _ = artifact
    outside = shutil.copy(directory / "tokenizer.json", directory.parent)
    (directory / "tokenizer.json").unlink()
    (directory / "tokenizer.json").symlink_to(outside)
    with pytest.raises(ArtifactError, match=r"'tokenizer\.json': a symbolic link"):
        verify(directory)


@pytest.mark.parametrize("name", ["onnx", MANIFEST_NAME])
def test_a_linked_directory_or_manifest_is_found(artifact: Artifact, name: str):
    directory, _ = artifact
    (directory / name).rename(directory.parent / "outside")
    (directory / name).symlink_to(directory.parent / "outside")
    with pytest.raises(ArtifactError, match=f"'{name}': a symbolic link"):
        verify(directory)


def test_an_artifact_behind_a_link_passes(artifact: Artifact):
    directory, manifest = artifact
    current = directory.parent / "current"
    current.symlink_to(directory)
    assert verify(current) == manifest


@pytest.mark.parametrize("name", ["pipe", MANIFEST_NAME])
def test_a_pipe_is_found_and_not_waited_for(artifact: Artifact, name: str):
    directory, _ = artifact
    (directory / name).unlink(missing_ok=True)
    os.mkfifo(directory / name)
    with pytest.raises(ArtifactError, match=f"{name}.*(neither a file|not a regular file)"):
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
        (directory / f"extra{index:02}").touch()
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


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
@pytest.mark.parametrize("name", [".", "onnx", MANIFEST_NAME, "tokenizer.json"])
def test_what_cannot_be_read_is_an_artifact_error(tmp_path: Path, name: str):
    write_artifact(tmp_path / "DIR")
    path = tmp_path / "DIR" / name
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        with pytest.raises(ArtifactError, match="cannot be read"):
            verify(tmp_path / "DIR")
    finally:
        path.chmod(mode)


def test_a_future_schema_is_refused(artifact: Artifact):
    directory, manifest = artifact
    rewrite_manifest(directory, manifest, schema_version=2)
    with pytest.raises(ArtifactError, match="schema version 2"):
        verify(directory)
