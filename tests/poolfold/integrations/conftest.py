"""An artifact with a prompt for queries and another for documents, and one of other weights to put in its place."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.artifacts import expected, model_values, table, text_values, write_artifact

QUERY, DOCUMENT = "w7 ", "w8 w9 "


def queries(*texts: str) -> npt.NDArray[np.float32]:
    return expected([QUERY + text for text in texts])


def documents(*texts: str) -> npt.NDArray[np.float32]:
    return expected([DOCUMENT + text for text in texts])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    text = text_values(prompts={"query": QUERY, "document": DOCUMENT})
    write_artifact(tmp_path / "model", model=model_values(text=text))
    return tmp_path / "model"


@pytest.fixture
def put_another(folder: Path) -> Callable[[], None]:
    """Put an artifact of the same name and shape there, with other weights."""

    def put() -> None:
        shutil.rmtree(folder)
        text = text_values(prompts={"query": QUERY, "document": DOCUMENT})
        write_artifact(folder, values=table()[::-1].copy(), model=model_values(text=text))

    return put
