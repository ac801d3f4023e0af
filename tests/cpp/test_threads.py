"""The C++ loader takes as many threads as Python's, and asks no server anything either."""

from __future__ import annotations

from pathlib import Path

import pytest

from poolfold.sessions.threads import usable_cores
from tests.cpp.conftest import Driver
from tests.poolfold.sessions.test_threads import KERNELS, write


@pytest.fixture
def own_driver(cpp_build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
    """A process of its own, with a fresh home and the variables that the test's parameter says."""
    for name, value in {"HOME": str(tmp_path), **getattr(request, "param", {})}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    process = Driver(cpp_build / "tests" / "driver")
    yield process
    process.close()


@pytest.mark.parametrize(("files", "count"), KERNELS)
def test_what_the_kernel_allows(driver: Driver, tmp_path: Path, files: dict[str, str], count: int) -> None:
    assert driver.ask("cores", root=str(write(tmp_path, files))) == {"cores": count}


def test_this_machine(driver: Driver) -> None:
    assert driver.ask("cores", root="") == {"cores": usable_cores()}


@pytest.mark.parametrize("own_driver", [{"POOLFOLD_THREADS": "7"}], indirect=True)
def test_the_variable_says_it(own_driver: Driver) -> None:
    assert own_driver.ask("threads") == {"threads": 7}


@pytest.mark.parametrize(
    "own_driver", [{"POOLFOLD_THREADS": value} for value in ("0", "-1", "two", "1025", "9" * 30)], indirect=True
)
def test_a_variable_that_is_no_number_of_threads_is_refused(own_driver: Driver, minilm: Path) -> None:
    answer = own_driver.ask("load", directory=str(minilm))
    assert answer["error"] == "InputError"
    assert answer["message"].endswith("; expected 1 to 1024. Correct it, or unset it.")


def test_a_fresh_home_stays_empty(own_driver: Driver, minilm: Path, tmp_path: Path) -> None:
    assert own_driver.ask("load", directory=str(minilm))["strategy"] == "mean"
    assert own_driver.ask("rows", ids=[[101, 7592, 102]], batch_size=1)["dim"] == 384
    assert list(tmp_path.rglob("*")) == []
