"""C++ loads an artifact where Python does, and no fault in its files gives another vector or ends the process."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from poolfold.manifest import Manifest
from tests.artifacts import CLS, SEP, expected, write_artifact
from tests.cpp.conftest import Driver
from tests.damage import KINDS, Damage
from tests.places import PLACES

TEXTS = ["w1 w2 w3", "w9"]
IDS = [[CLS, 7, 8, 9, SEP], [CLS, 15, SEP]]
WEIGHTS = "onnx/mean_fp32.onnx.data"


@pytest.fixture
def artifact(tmp_path: Path) -> tuple[Path, Manifest]:
    """A small artifact whose files were not written just now."""
    manifest = write_artifact(tmp_path / "DIR")
    for path in (tmp_path / "DIR").rglob("*"):
        os.utime(path, (1e9, 1e9))
    return tmp_path / "DIR", manifest


def vectors(driver: Driver) -> np.ndarray | None:
    """What the driver's encoder gives; None where it refuses."""
    answer = driver.ask("rows", ids=IDS, batch_size=2)
    assert answer.get("error") in (None, "ArtifactError"), answer
    return np.array(answer["vectors"], np.float32) if "vectors" in answer else None


@pytest.mark.parametrize("place", PLACES)
def test_it_loads_where_it_lies(artifact: tuple[Path, Manifest], tmp_path: Path, driver: Driver, place: str) -> None:
    directory = PLACES[place](*artifact, tmp_path)
    for how in ({}, {"mmap": False}, {"verify": False}):
        assert "error" not in driver.ask("load", directory=str(directory), threads=1, **how)
        np.testing.assert_array_equal(vectors(driver), expected(TEXTS))


def test_a_file_without_permission_is_told_from_a_damaged_one(cpp_build: Path) -> None:
    """As an ordinary user, since root reads everything."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        write_artifact(Path(folder) / "DIR")
        (Path(folder) / "DIR/tokenizer.json").chmod(0)
        me = os.geteuid()
        driver = Driver(cpp_build / "tests/driver", user=65534 if me == 0 else None)
        answer = driver.ask("verify", directory=f"{folder}/DIR")
        driver.close()
    assert answer["error"] == "ArtifactError"
    assert answer["message"] == (
        f"{folder}/DIR cannot be read:\n  - 'tokenizer.json': cannot be read: Permission denied\n"
        "Check its permissions; nothing is damaged."
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mmap", [True, False])
def test_weights_changed_under_an_encoder(
    artifact: tuple[Path, Manifest], tmp_path: Path, driver: Driver, kind: str, mmap: bool
) -> None:
    directory, _ = artifact
    damage = Damage(directory, tmp_path / "store", 2)
    with damage.prepared(directory / WEIGHTS):
        driver.ask("load", directory=str(directory), threads=1, mmap=mmap)
        with damage.done(kind, directory / WEIGHTS):
            given = vectors(driver)
    if mmap and kind in ("flip", "cut", "empty", "grow"):
        assert given is None
    else:
        np.testing.assert_array_equal(given, expected(TEXTS))


@pytest.mark.parametrize("place", PLACES)
def test_no_random_fault_gives_another_vector(
    artifact: tuple[Path, Manifest], tmp_path: Path, driver: Driver, place: str
) -> None:
    """600 in each place: before the check, and under a loaded encoder."""
    directory = PLACES[place](*artifact, tmp_path)
    damage = Damage(directory, tmp_path / "store", seed=sorted(PLACES).index(place))
    outcomes = {"right": 0, "refused": 0}
    for number in range(600):
        kind, path = damage.choose()
        with ExitStack() as stack:
            stack.enter_context(damage.prepared(path))
            if number % 2:
                stack.enter_context(damage.done(kind, path))
            answer = driver.ask("load", directory=str(directory), threads=1)
            assert answer.get("error") in (None, "ArtifactError"), answer
            if not number % 2:
                stack.enter_context(damage.done(kind, path))
            given = None if "error" in answer else vectors(driver)
        if given is None:
            outcomes["refused"] += 1
        else:
            assert np.array_equal(given, expected(TEXTS)), (kind, path, number)
            outcomes["right"] += 1
    assert min(outcomes.values()) > 50, outcomes
