"""Models by the names of requests. A name that is nearly right is refused: another prompt gives another vector."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from poolfold.errors import InputError
from poolfold.serve.models import Models, UnknownModel
from poolfold.serve.serve import Computing, open_models
from tests.artifacts import write_artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models") / "table"
    write_artifact(directory, strategies=("cls", "mean"))
    return directory


@pytest.fixture(scope="module")
def one(artifact: Path) -> Iterator[Models]:
    yield Models(open_models([str(artifact)], Computing()))


@pytest.fixture(scope="module")
def several(artifact: Path) -> Iterator[Models]:
    yield Models(open_models([str(artifact), f"b={artifact}"], Computing(strategies=("cls", "mean"))))


@pytest.mark.parametrize("name", [None, "", "table", "table:mean", "text-embedding-3-small", "bge-m3:latest"])
def test_where_one_is_served_any_name_is_taken(one: Models, name: str | None) -> None:
    served, prompt = one.find(name)
    assert served.listed == "table"
    assert served.encoder.strategy == "mean"
    assert prompt is None


@pytest.mark.parametrize("name", ["table:query", "table:mean:query", "table:query:mean", "any:query"])
def test_a_name_may_name_a_prompt(one: Models, name: str) -> None:
    assert one.find(name)[1] == "query"


@pytest.mark.parametrize("name", ["table:qurey", "table:cls", "table:query:passage", "table:"])
def test_what_begins_with_the_models_name_must_be_right_to_its_end(one: Models, name: str) -> None:
    with pytest.raises(UnknownModel, match="served: table, table:query"):
        one.find(name)


@pytest.mark.parametrize(
    ("name", "listed", "prompt"),
    [("table:mean", "table:mean", None), ("b:cls", "b:cls", None), ("b:mean:query", "b:mean", "query")],
)
def test_of_several_the_one_that_is_named(several: Models, name: str, listed: str, prompt: str | None) -> None:
    served, of_name = several.find(name)
    assert (served.listed, of_name) == (listed, prompt)
    assert served.encoder.strategy == listed.partition(":")[2]


@pytest.mark.parametrize("name", [None, "", "table", "table:query", "c", "text-embedding-3-small", "b:max"])
def test_of_several_no_other_name_is_taken(several: Models, name: str | None) -> None:
    with pytest.raises(UnknownModel, match="served: table:cls, table:cls:query, table:mean"):
        several.find(name)


def test_two_artifacts_of_one_name_are_told(artifact: Path) -> None:
    with pytest.raises(InputError, match=r"both called 'table'.*NAME="):
        open_models([str(artifact), f"{artifact}/"], Computing())


def test_a_name_has_no_colon(artifact: Path) -> None:
    with pytest.raises(InputError, match="without a colon"):
        open_models([f"a:b={artifact}"], Computing())
