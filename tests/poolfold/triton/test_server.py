"""A real tritonserver on what `poolfold deploy triton` wrote. `tests/install-tritonserver` makes its environment."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import tritonserver
from exporter.commands.cli import run_command
from tests.artifacts import expected, write_artifact

REQUIRED = "POOLFOLD_TRITON"
"""Set in CI: a server that was not started is none that was checked."""
TEXTS = [" ".join(f"w{(i + j) % 26}" for j in range(i % 13)) for i in range(500)]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("tritonserver"),
    pytest.mark.skipif(
        not tritonserver.installed() and REQUIRED not in os.environ,
        reason="no tritonserver here: tests/install-tritonserver makes its environment",
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository, what its client reads, and the server's log."""
    folder = tmp_path_factory.mktemp("triton")
    write_artifact(folder / "artifact")
    for place, more in (("models", ()), ("models-gpu", ("--gpu",))):
        arguments = ["--name", "minilm", "-o", str(folder / place), "-q", *more]
        assert run_command(["deploy", "triton", str(folder / "artifact"), *arguments]) == 0
    (folder / "texts.json").write_text(json.dumps(TEXTS))
    np.save(folder / "wanted.npy", expected(TEXTS))
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[tritonserver.Server]:
    with tritonserver.serving(folder / "models", folder / "log.txt") as server:
        yield server


def by_http(server: tritonserver.Server, *texts: str) -> Any:
    """The vectors of a request, or what is wrong with it."""
    value = {"name": "text", "shape": [len(texts), 1], "datatype": "BYTES", "data": [[text] for text in texts]}
    body = json.dumps({"inputs": [value]}).encode()
    request = urllib.request.Request(f"http://{server.http}/v2/models/minilm/infer", body)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            (output,) = json.load(answer)["outputs"]
            return np.array(output["data"], np.float32).reshape(output["shape"])
    except urllib.error.HTTPError as error:
        return f"{error.code}: {json.load(error)['error']}"


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_each_of_32_clients_gets_the_vectors_of_its_own_texts(
    server: tritonserver.Server, folder: Path, protocol: str
) -> None:
    found = tritonserver.asked(server, protocol, 2000, folder)
    assert (found["answers"], found["wrong"], found["errors"]) == (2000, 0, 0), found


def test_a_client_of_another_artifact_would_see_wrong_vectors(server: tritonserver.Server, folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    (other / "texts.json").write_text(json.dumps(TEXTS))
    np.save(other / "wanted.npy", np.roll(expected(TEXTS), 1, axis=0))
    assert tritonserver.asked(server, "grpc", 100, other)["wrong"] > 90


def test_a_text_that_is_refused_fails_its_own_request(server: tritonserver.Server) -> None:
    np.testing.assert_array_equal(by_http(server, "w3", "w4 w5"), expected(["w3", "w4 w5"]))
    told = by_http(server, "nan")
    assert isinstance(told, str) and told.startswith(("400: ", "500: ")), told
    np.testing.assert_array_equal(by_http(server, "w6"), expected(["w6"]))


def test_killed_under_load_and_started_again_it_answers_right(folder: Path) -> None:
    with (
        tritonserver.serving(folder / "models", folder / "killed.txt") as server,
        tritonserver.asking(server, "grpc", 1_000_000, folder, "--until-lost") as client,
    ):
        time.sleep(2)
        server.kill()
        found = json.loads(client.communicate(timeout=60)[0])
    assert found["wrong"] == 0 and found["answers"] > 0 and found["errors"] > 0, found
    with tritonserver.serving(folder / "models", folder / "again.txt") as server:
        found = tritonserver.asked(server, "grpc", 200, folder)
    assert (found["answers"], found["wrong"], found["errors"]) == (200, 0, 0), found


def test_its_own_schema_takes_every_configuration(folder: Path) -> None:
    assert tritonserver.parsed(folder / "models") == ["minilm"]
    assert tritonserver.parsed(folder / "models-gpu") == ["minilm", "minilm-graph", "minilm-tokens"]
    config = folder / "models-gpu" / "minilm" / "config.pbtxt"
    config.write_text(config.read_text() + "no_such_field: 1\n")
    with pytest.raises(Exception, match="non-zero exit status"):
        tritonserver.parsed(folder / "models-gpu")
