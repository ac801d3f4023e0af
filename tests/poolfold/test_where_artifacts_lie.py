"""An artifact loads wherever people keep artifacts, and no fault in its files gives another vector or a crash."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import poolfold
from poolfold.errors import ArtifactError
from poolfold.manifest import Manifest
from poolfold.verify.files import OpenFile
from tests.artifacts import expected, relist, rewrite_manifest, write_artifact
from tests.damage import KINDS, Damage
from tests.openvino_here import DTYPES
from tests.places import PLACES

TEXTS = ["w1 w2 w3", "w9", ""]
WEIGHTS = "onnx/mean_fp32.onnx.data"
TARGETS = ["onnxruntime", *(["openvino"] if DTYPES else [])]
loading = importlib.import_module("poolfold.load")  # `poolfold.load` is the function
OPEN_ENCODER = loading._open_encoder


@pytest.fixture
def artifact(tmp_path: Path) -> tuple[Path, Manifest]:
    return tmp_path / "DIR", written(tmp_path / "DIR")


def written(directory: Path) -> Manifest:
    """A small artifact whose files were not written just now."""
    manifest = write_artifact(directory)
    for path in directory.rglob("*"):
        os.utime(path, (1e9, 1e9))
    return manifest


def interrupted(stack: ExitStack, fault: AbstractContextManager[None]) -> Callable[..., poolfold.Encoder]:
    """What `load` does after it has checked the files, behind a fault."""

    def with_fault(*arguments: Any, **options: Any) -> poolfold.Encoder:
        stack.enter_context(fault)
        return OPEN_ENCODER(*arguments, **options)

    return with_fault


def require_right(encoder: poolfold.Encoder) -> None:
    """OpenVINO divides by multiplying, which moves the last bit."""
    np.testing.assert_allclose(encoder.encode(TEXTS), expected(TEXTS), rtol=1e-6 if encoder.target == "openvino" else 0)


def listing(directory: Path) -> set[tuple[str, int]]:
    return {(str(path), path.lstat().st_mtime_ns) for path in [directory, *directory.rglob("*")]}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("place", PLACES)
def test_it_loads_where_it_lies_and_nothing_is_written_there(
    artifact: tuple[Path, Manifest], tmp_path: Path, place: str, target: str
):
    if target == "openvino":
        artifact = artifact[0], with_openvino(*artifact)
    directory = PLACES[place](*artifact, tmp_path)
    before = listing(directory)
    for how in ({}, {"mmap": False}, {"verify": False}):
        with poolfold.load(str(directory), target=target, threads=1, **how) as encoder:
            require_right(encoder)
    assert listing(directory) == before


def with_openvino(directory: Path, manifest: Manifest) -> Manifest:
    """The manifest with a record for OpenVINO, which `poolfold export` writes once it has checked the graph there."""
    graph = manifest.graphs[0]
    like = write_artifact(directory.parent / "like", engines=("openvino",)).engines[0]
    engine = type(like)(
        **{**{f: getattr(like, f) for f in like.__struct_fields__}, "path": graph.path, "dtype": "fp32"}
    )
    return rewrite_manifest(directory, manifest, engines=(engine,))


def test_links_into_several_folders_load(artifact: tuple[Path, Manifest], tmp_path: Path):
    """ONNX Runtime itself refuses weights that do not lie beside the graph."""
    directory, _ = artifact
    for number, path in enumerate(["onnx/mean_fp32.onnx", WEIGHTS]):
        (tmp_path / f"{number}").mkdir()
        (directory / path).rename(tmp_path / f"{number}/blob")
        (directory / path).symlink_to(tmp_path / f"{number}/blob")
    with poolfold.load(directory, threads=1) as encoder:
        require_right(encoder)


@pytest.mark.parametrize("mmap", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [WEIGHTS, "onnx/mean_fp32.onnx", "tokenizer.json"])
def test_a_file_changed_between_check_and_use(
    artifact: tuple[Path, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, mmap: bool
):
    """The bytes that were checked are used, or the change is found."""
    directory, _ = artifact
    damage, path = Damage(directory, tmp_path / "store", 1), directory / name
    in_place = mmap and name == WEIGHTS and kind in ("flip", "cut", "empty", "grow")
    with ExitStack() as stack:
        stack.enter_context(damage.prepared(path))
        monkeypatch.setattr(loading, "_open_encoder", interrupted(stack, damage.done(kind, path)))
        if in_place:
            with pytest.raises(ArtifactError, match=r"was changed after it was opened|which has"):
                poolfold.load(directory, threads=1, mmap=mmap)
        else:
            with poolfold.load(directory, threads=1, mmap=mmap) as encoder:
                require_right(encoder)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", KINDS)
def test_weights_changed_under_an_encoder(artifact: tuple[Path, Manifest], tmp_path: Path, kind: str, target: str):
    directory, manifest = artifact
    if target == "openvino":
        with_openvino(directory, manifest)
    damage = Damage(directory, tmp_path / "store", 2)
    with (
        damage.prepared(directory / WEIGHTS),
        poolfold.load(directory, target=target, threads=1) as encoder,
        damage.done(kind, directory / WEIGHTS),
    ):
        if kind in ("flip", "cut", "empty", "grow"):
            with pytest.raises(ArtifactError, match=r"\.data was changed after it was opened.*rename"):
                encoder.encode(TEXTS)
        else:  # the old file is still there, whatever its name leads to now
            require_right(encoder)


@pytest.mark.parametrize("target", TARGETS)
def test_weights_in_memory_do_not_change(artifact: tuple[Path, Manifest], target: str):
    directory, manifest = artifact
    if target == "openvino":
        with_openvino(directory, manifest)
    with poolfold.load(directory, target=target, threads=1, mmap=False) as encoder:
        (directory / WEIGHTS).write_bytes(bytes(1024))
        require_right(encoder)


def test_an_artifact_replaced_by_a_rename_goes_on(artifact: tuple[Path, Manifest], tmp_path: Path):
    directory, _ = artifact
    with poolfold.load(directory, threads=1) as encoder:
        directory.rename(tmp_path / "old")
        written(directory)
        shutil.rmtree(tmp_path / "old")
        require_right(encoder)


def test_without_the_check_a_changed_file_is_used_as_it_is(artifact: tuple[Path, Manifest]):
    directory, _ = artifact
    weights = bytearray((directory / WEIGHTS).read_bytes())
    weights[6 * 8 * 4 + 3] ^= 0x80  # the sign of a value of w0
    (directory / WEIGHTS).write_bytes(weights)
    with pytest.raises(ArtifactError, match=r"\.data': changed"):
        poolfold.load(directory, threads=1)
    with poolfold.load(directory, threads=1, verify=False) as encoder:
        assert not np.array_equal(encoder.encode(["w0"]), expected(["w0"]))


def test_a_graph_with_weights_that_the_manifest_does_not_name_is_refused(artifact: tuple[Path, Manifest]):
    directory, manifest = artifact
    graph = (directory / "onnx/mean_fp32.onnx").read_bytes()
    name = Path(WEIGHTS).name.encode()
    (directory / "onnx/mean_fp32.onnx").write_bytes(graph.replace(name, b"../../etc/hostname".ljust(len(name), b"x")))
    rewrite_manifest(directory, manifest, files=relist(directory, manifest, "onnx/mean_fp32.onnx"))
    with pytest.raises(ArtifactError, match=r"weights lie in .*etc/hostname"):
        poolfold.load(directory, threads=1)


def test_a_write_in_the_same_tick_of_the_clock_is_noticed(tmp_path: Path):
    for number in range(20):
        path = tmp_path / str(number)
        path.write_bytes(b"a")
        file = OpenFile(path)
        assert bytes(file.data[:1]) == b"a"
        path.write_bytes(b"b")
        with pytest.raises(ArtifactError, match="was changed"):
            file.require_unchanged()


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_no_random_fault_gives_another_vector(
    artifact: tuple[Path, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    """600 in each place: before the check, between check and use, and under a loaded encoder."""
    directory = PLACES[place](*artifact, tmp_path)
    damage = Damage(directory, tmp_path / "store", seed=sorted(PLACES).index(place))
    right = expected(TEXTS)
    outcomes = {"right": 0, "refused": 0}
    for number in range(600):
        kind, path = damage.choose()
        when = ("before", "between", "under")[number % 3]
        with ExitStack() as stack:
            stack.enter_context(damage.prepared(path))

            interrupt = interrupted(stack, damage.done(kind, path)) if when == "between" else OPEN_ENCODER
            monkeypatch.setattr(loading, "_open_encoder", interrupt)
            if when == "before":
                stack.enter_context(damage.done(kind, path))
            try:
                with poolfold.load(directory, threads=1) as encoder:
                    if when == "under":
                        stack.enter_context(damage.done(kind, path))
                    vectors = encoder.encode(TEXTS)
            except ArtifactError:
                outcomes["refused"] += 1
            else:
                assert np.array_equal(vectors, right), (kind, path, when)
                outcomes["right"] += 1
    assert min(outcomes.values()) > 50, outcomes
    with poolfold.load(directory, threads=1) as encoder:  # every fault was undone
        np.testing.assert_array_equal(encoder.encode(TEXTS), right)
