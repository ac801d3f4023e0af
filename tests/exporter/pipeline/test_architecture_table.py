"""The table of architectures in the documents is what their exports say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from poolfold.manifest import read_manifest
from tests.architecture_table import DOCUMENT, half, row
from tests.architectures import BY_ARCHITECTURE
from tests.conftest import Exported


@pytest.mark.parametrize("name", BY_ARCHITECTURE)
def test_the_row_of_each_architecture_is_true(name: str, exported: Callable[[str], Exported], tmp_path: Path) -> None:
    folders = exported(name)
    found = row(name, read_manifest(folders.artifact), half(folders.checkpoint, tmp_path / "fp16"))
    assert found in DOCUMENT.read_text().splitlines()
