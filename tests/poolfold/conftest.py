from collections.abc import Iterator
from pathlib import Path

import pytest

import poolfold
from poolfold.manifest import Manifest
from tests.artifacts import write_artifact


@pytest.fixture
def artifact(tmp_path: Path) -> tuple[Path, Manifest]:
    """A fresh artifact to damage: two strategies, one dtype, an engine each."""
    directory = tmp_path / "artifact"
    return directory, write_artifact(directory, strategies=("cls", "mean"), engines=("tensorrt-rtx",))


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[poolfold.Encoder]:
    """One encoder for all tests that do not change it: strategy mean, fp32."""
    directory = tmp_path_factory.mktemp("shared") / "artifact"
    write_artifact(directory)
    with poolfold.load(directory, threads=1) as encoder:
        yield encoder
