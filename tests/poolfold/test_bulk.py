"""The class that engines call: each kind of batch, and itself through a pickle."""

from __future__ import annotations

import pickle  # noqa: TID251 - what engines send it by
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from poolfold.bulk import Embed
from poolfold.errors import InputError
from tests.artifacts import PROMPTS, expected, write_artifact

TEXTS = ["w3", "w4 w5"]


@pytest.fixture
def embed(tmp_path: Path) -> Embed:
    write_artifact(tmp_path / "table")
    return Embed(str(tmp_path / "table"), threads=1)


@pytest.mark.parametrize(
    ("batch", "of"),
    [
        ({"text": np.array(TEXTS), "id": np.arange(2)}, lambda made: made["embedding"]),
        ({"text": TEXTS}, lambda made: made["embedding"]),
        (pa.table({"text": TEXTS, "id": [0, 1]}), lambda made: made.column("embedding").to_pylist()),
        (pd.DataFrame({"text": TEXTS, "id": [0, 1]}), lambda made: list(made.embedding)),
    ],
)
def test_a_column_of_vectors_is_added(embed: Embed, batch: Any, of: Any) -> None:
    made = embed(batch)
    assert type(made) is type(batch)
    np.testing.assert_array_equal(np.array(of(made), dtype=np.float32), expected(TEXTS))


def test_it_travels_as_arguments(embed: Embed) -> None:
    embed.encoder.encode("w3")
    data = pickle.dumps(embed)
    assert len(data) < 1000
    np.testing.assert_array_equal(pickle.loads(data)({"text": TEXTS})["embedding"], expected(TEXTS))


def test_options_of_load_and_encode(embed: Embed, tmp_path: Path) -> None:
    made = Embed(tmp_path / "table", "body", "vector", encode={"prompt_name": "query"}, verify=False)({"body": TEXTS})
    np.testing.assert_array_equal(made["vector"], expected([PROMPTS["query"] + text for text in TEXTS]))


@pytest.mark.parametrize("value", [None, float("nan"), 3])
def test_what_is_no_text_is_no_text(embed: Embed, value: object) -> None:
    with pytest.raises(InputError, match="text 1 is"):
        embed({"text": ["w3", value]})
