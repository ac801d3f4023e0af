"""Several processes that embed: the same vectors, in order, and never those of another call."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import poolfold
from poolfold import Encoder, InputError, TargetUnavailable
from tests.artifacts import DIM, expected, write_artifact

TEXTS = [f"w{number % 26} " * (1 + number % 9) for number in range(60)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pool") / "DIR"
    write_artifact(directory)
    return directory


@pytest.fixture(scope="module")
def encoder(directory: Path) -> Iterator[Encoder]:
    with poolfold.load(directory) as encoder:
        yield encoder


@pytest.fixture(scope="module")
def pool(encoder: Encoder) -> Iterator[dict[str, Any]]:
    pool = encoder.start_multi_process_pool(["cpu", "cpu"])
    yield pool
    encoder.stop_multi_process_pool(pool)


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", [None, 1, 7, 1000])
def test_the_vectors_are_those_of_one_process(encoder: Encoder, pool: dict[str, Any], chunk_size: int | None):
    done: list[int] = []
    got = encoder.encode(TEXTS, pool=pool, chunk_size=chunk_size, progress=done.append)
    np.testing.assert_array_equal(got, expected(TEXTS))
    assert done[-1] == len(TEXTS) and done == sorted(done)
    assert encoder.encode([], pool=pool).shape == (0, DIM)
    np.testing.assert_array_equal(encoder.encode("w1 w2", pool=pool), expected(["w1 w2"])[0])
    np.testing.assert_array_equal(encoder.encode_multi_process(TEXTS, pool), expected(TEXTS))


@pytest.mark.slow
def test_what_was_set_here_holds_there(directory: Path, pool: dict[str, Any]):
    with poolfold.load(directory) as own, pytest.warns(UserWarning, match="dimensions is 3"):
        own.prompts, own.max_seq_length, own.truncate_dim = {"mine": "w7 "}, 4, 3
        got = own.encode(TEXTS, pool=pool, prompt_name="mine", truncate=True)
    np.testing.assert_array_equal(got, expected([f"w7 {text}" for text in TEXTS], limit=4)[:, :3])


@pytest.mark.slow
def test_an_error_names_the_callers_text(encoder: Encoder, pool: dict[str, Any]):
    texts = [*TEXTS[:20], "w1 nan", *TEXTS[20:]]
    with pytest.raises(poolfold.CheckFailed, match=r"text 20 \('w1 nan'\)"):
        encoder.encode(texts, pool=pool, chunk_size=3)
    np.testing.assert_array_equal(encoder.encode(TEXTS, pool=pool), expected(TEXTS))


@pytest.mark.slow
def test_answers_to_a_call_that_was_broken_off_are_nobodys(encoder: Encoder, pool: dict[str, Any]):
    def stop(done: int) -> None:
        raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            encoder.encode(["w9"] * 40, pool=pool, chunk_size=1, progress=stop)
        np.testing.assert_array_equal(encoder.encode(TEXTS, pool=pool, chunk_size=1), expected(TEXTS))


@pytest.mark.slow
def test_threads_may_share_a_pool(encoder: Encoder, pool: dict[str, Any]):
    def work(seed: int) -> bool:
        texts = TEXTS[seed:] + TEXTS[:seed]
        return np.array_equal(encoder.encode(texts, pool=pool, chunk_size=5), expected(texts))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, range(12)))


@pytest.mark.slow
def test_a_list_of_devices_is_a_pool_for_one_call(encoder: Encoder):
    np.testing.assert_array_equal(encoder.encode(TEXTS, device=["cpu", "cpu"]), expected(TEXTS))


@pytest.mark.slow
def test_a_process_that_dies_is_told(encoder: Encoder):
    pool = encoder.start_multi_process_pool(["cpu"])
    try:
        np.testing.assert_array_equal(encoder.encode(["w1"], pool=pool), expected(["w1"]))
        os.kill(pool["processes"][0].pid, signal.SIGKILL)
        started = time.monotonic()
        with pytest.raises(TargetUnavailable, match=r"exit code -9.* died\. Stop the pool"):
            encoder.encode(TEXTS, pool=pool)
        assert time.monotonic() - started < 30
    finally:
        encoder.stop_multi_process_pool(pool)
        encoder.stop_multi_process_pool(pool)


@pytest.mark.slow
def test_an_artifact_that_is_gone_is_told(tmp_path: Path):
    write_artifact(tmp_path / "DIR")
    with poolfold.load(tmp_path / "DIR") as encoder:
        (tmp_path / "DIR").rename(tmp_path / "elsewhere")
        with pytest.raises(poolfold.ArtifactError, match="is not on this machine"):
            encoder.encode(TEXTS, device=["cpu"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": []}, "got no device"),
        ({"device": ["cpu", "cuda:1"]}, "got device 'cuda:1', and this encoder computes on cpu"),
        ({"pool": [1]}, "pool is of type list; expected what start_multi_process_pool gave"),
        ({"pool": {}}, "pool is of type dict"),
    ],
)
def test_no_pool(encoder: Encoder, arguments: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        encoder.encode(TEXTS, **arguments)
