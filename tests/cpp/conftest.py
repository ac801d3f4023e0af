"""The C++ loader beside Python's, through the programs that `make cpp` builds.

`make cpp` names the build and the artifact in POOLFOLD_CPP_BUILD and POOLFOLD_TEST_ARTIFACT and runs this folder;
without them it is not collected, so that `make test` needs no C++ toolchain. `.ci/run` runs both.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

collect_ignore_glob = [] if "POOLFOLD_CPP_BUILD" in os.environ else ["test_*.py"]


PYTHON_TO_CPP = {
    ", or None for the cores that this process may use.": ", or std::nullopt for the cores that this process may use.",
    ", or None for half of what this process may take.": ", or std::nullopt for half of what this process may take.",
    " Truncate it, or pass texts to encode, which truncates them.": " Truncate it.",
}
"""What only a Python caller can do, in Python's messages -> what a C++ caller can do, in C++'s."""


def as_cpp(message: str) -> str:
    """A message of Python's loader as the C++ loader must word it: the same facts, and the remedies of a C++ caller."""
    for python, cpp in PYTHON_TO_CPP.items():
        message = message.replace(python, cpp)
    return message


class Driver:
    """One process of cpp/tests/driver.cpp: questions and answers, a JSON object a line."""

    def __init__(self, program: Path, user: int | None = None) -> None:
        """Start the program, as another user if a number is given."""
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, user=user, group=user
        )

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def ask(self, what: str, **question: Any) -> dict[str, Any]:
        """The answer: what was asked for, or `error`, the name of the class, and `message`."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"ask": what, **question}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the driver ended with {self._process.wait()}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process; a sanitiser's findings show in how it ends."""
        self._process.communicate()
        assert self._process.returncode == 0


@pytest.fixture(scope="session")
def cpp_build() -> Path:
    return Path(os.environ["POOLFOLD_CPP_BUILD"])


@pytest.fixture(scope="session")
def minilm() -> Path:
    """all-MiniLM-L6-v2 with its real weights: cls and mean, fp32."""
    return Path(os.environ["POOLFOLD_TEST_ARTIFACT"])


@pytest.fixture(scope="session")
def driver(cpp_build: Path) -> Iterator[Driver]:
    process = Driver(cpp_build / "tests" / "driver")
    yield process
    process.close()
