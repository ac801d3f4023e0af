"""A session's way from a batch to runs and back, on a stand-in for the GPU: see tests/fake_gpu.py."""

from __future__ import annotations

import gc
from pathlib import Path

import msgspec
import numpy as np
import pytest

from poolfold.errors import InputError
from poolfold.sessions.tensorrt.session import EngineSession
from tests.fake_gpu import DIM, FakeCuda, fake_engine
from tests.poolfold.sessions.tensorrt.test_checks import ENGINE
from tests.poolfold.sessions.test_profiles import profile

BUCKETS = (profile((2, 4, 8), (16, 32, 32)), profile((2, 4, 8), (33, 64, 100)))


@pytest.fixture(params=["plain", "packed"])
def opened(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[EngineSession, FakeCuda]:
    record = msgspec.structs.replace(ENGINE, form=request.param, profiles=BUCKETS)
    loaded, cuda = fake_engine(record)
    monkeypatch.setattr("poolfold.sessions.tensorrt.session.load_engine", lambda *_: loaded)
    return EngineSession(Path("DIR"), record, gpu=0, digest="0" * 64), cuda


def batch(rows: int, seq: int) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.random.default_rng(rows).integers(1, seq + 1, rows)
    lengths[0] = seq
    return np.random.default_rng(seq).integers(1, 1000, (rows, seq)), np.int64(np.arange(seq) < lengths[:, None])


@pytest.mark.parametrize("rows", [1, 2, 8, 9, 17, 40])
@pytest.mark.parametrize("seq", [1, 15, 32, 33, 97, 100])
def test_any_batch_that_is_short_enough_runs(opened: tuple[EngineSession, FakeCuda], rows: int, seq: int) -> None:
    session, _ = opened
    ids, mask = batch(rows, seq)
    for _ in range(3):
        np.testing.assert_array_equal(
            session.run(ids, mask), (ids * mask).sum(axis=1, keepdims=True) + np.arange(DIM, dtype=np.float32)
        )


def test_a_longer_one_is_refused_and_the_next_runs(opened: tuple[EngineSession, FakeCuda]) -> None:
    session, _ = opened
    with pytest.raises(InputError, match="has 101 tokens"):
        session.run(*batch(2, 101))
    assert session.run(*batch(2, 100)).shape == (2, DIM)


def test_closing_gives_everything_back(opened: tuple[EngineSession, FakeCuda]) -> None:
    session, cuda = opened
    session.run(*batch(2, 16))
    assert cuda.held["device"] > 0
    session.close()
    session.close()
    assert +cuda.held == {}
    with pytest.raises(InputError, match="the encoder is closed"):
        session.run(*batch(2, 16))


def test_a_forgotten_session_gives_everything_back(monkeypatch: pytest.MonkeyPatch) -> None:
    record = msgspec.structs.replace(ENGINE, profiles=BUCKETS)
    loaded, cuda = fake_engine(record)
    monkeypatch.setattr("poolfold.sessions.tensorrt.session.load_engine", lambda *_: loaded)
    EngineSession(Path("DIR"), record, gpu=0, digest="0" * 64).run(*batch(2, 16))
    gc.collect()
    assert +cuda.held == {}
