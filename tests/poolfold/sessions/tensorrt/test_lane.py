"""The bookkeeping of a lane, on a stand-in for the GPU: see tests/fake_gpu.py for what that proves and what not."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from poolfold.errors import TargetUnavailable
from poolfold.sessions.packing import token_positions
from poolfold.sessions.tensorrt.lane import EngineLane
from tests.fake_gpu import DIM, fake_engine
from tests.poolfold.sessions.tensorrt.test_checks import ENGINE

PACKED = msgspec.structs.replace(ENGINE, form="packed")


def feeds(rows: int, seq: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    mask = (rng.random((rows, seq)) < 0.7).astype(np.int64)
    return {"input_ids": rng.integers(0, 1000, (rows, seq)), "attention_mask": mask}


def expected(fed: dict[str, np.ndarray]) -> np.ndarray:
    return (fed["input_ids"] * fed["attention_mask"]).sum(axis=1, keepdims=True) + np.arange(DIM)


def test_each_batch_gets_its_own_vectors_whatever_came_before() -> None:
    loaded, _ = fake_engine(ENGINE)
    lane = EngineLane(loaded, None)
    shapes = [(3, 8), (1, 16), (3, 8), (64, 512), (3, 8), (1, 16), (3, 8), (64, 512), (64, 512), (2, 8)]
    for seed, (rows, seq) in enumerate(shapes):
        fed = feeds(rows, seq, seed)
        vectors = lane.run(seed % 2, fed)
        assert vectors.dtype == np.float32
        np.testing.assert_array_equal(vectors, expected(fed))


def test_a_shape_that_comes_again_is_captured_and_then_launched() -> None:
    loaded, cuda = fake_engine(ENGINE)
    lane = EngineLane(loaded, None)
    for seed in range(5):
        fed = feeds(2, 8, seed)
        np.testing.assert_array_equal(lane.run(0, fed), expected(fed))
    # Plain; plain and captured, in a context of its own; then three launches.
    assert (cuda.calls["launch"], cuda.calls["execute"], cuda.held["executable"]) == (3, 3, 1)
    assert loaded.engine.made == 2
    assert cuda.held["graph"] == 0


def test_another_profile_is_another_graph() -> None:
    loaded, cuda = fake_engine(ENGINE)
    lane = EngineLane(loaded, None)
    for profile in (0, 0, 1, 1, 0, 1):
        lane.run(profile, feeds(2, 8))
    assert (cuda.calls["launch"], cuda.held["executable"]) == (2, 2)


def test_graphs_are_discarded_when_memory_moves_and_made_again() -> None:
    loaded, cuda = fake_engine(ENGINE)
    lane = EngineLane(loaded, None)
    for _ in range(3):
        lane.run(0, feeds(2, 8))
    assert cuda.held["executable"] == 1
    lane.run(0, feeds(64, 512))  # more than was held
    assert cuda.held["executable"] == 0
    for seed in range(4):
        fed = feeds(2, 8, seed)
        np.testing.assert_array_equal(lane.run(0, fed), expected(fed))
    assert cuda.held["executable"] == 1


def test_where_nothing_can_be_captured_batches_still_run_and_it_is_not_tried_again() -> None:
    loaded, cuda = fake_engine(ENGINE)
    cuda.capturable = False
    lane = EngineLane(loaded, None)
    for seed in range(6):
        fed = feeds(2, 8, seed)
        np.testing.assert_array_equal(lane.run(0, fed), expected(fed))
    assert loaded.engine.made == 2
    assert (cuda.calls["launch"], cuda.held["graph"], cuda.held["executable"]) == (0, 0, 0)


def test_packed_batches_are_never_captured() -> None:
    loaded, cuda = fake_engine(PACKED)
    lane = EngineLane(loaded, None)
    for _ in range(4):
        fed = feeds(2, 8)
        vectors = lane.run(0, {**fed, "token_positions": token_positions(fed["attention_mask"])})
        np.testing.assert_array_equal(vectors, expected(fed))
    assert cuda.calls["launch"] == 0


@pytest.mark.parametrize("record", [ENGINE, PACKED])
def test_everything_is_given_back(record) -> None:
    loaded, cuda = fake_engine(record)
    lane = EngineLane(loaded, None)
    for rows in (1, 2, 2, 2, 64):
        fed = feeds(rows, 512)
        lane.run(
            0, {**fed, **({"token_positions": token_positions(fed["attention_mask"])} if record is PACKED else {})}
        )
    assert cuda.held["device"] == (5 if record is PACKED else 4)
    lane.free()
    assert +cuda.held == {}
    assert cuda.memory == {}


def test_a_gpu_without_room_says_so_and_leaves_nothing() -> None:
    loaded, cuda = fake_engine(ENGINE)
    cuda.left = 10
    with pytest.raises(TargetUnavailable, match="cudaErrorMemoryAllocation, in words"):
        EngineLane(loaded, None)
    assert +cuda.held == {}
    cuda.left = 2**17
    lane = EngineLane(loaded, None)
    with pytest.raises(TargetUnavailable, match="cudaErrorMemoryAllocation"):
        lane.run(0, feeds(64, 512))
    np.testing.assert_array_equal(lane.run(0, feeds(2, 8)), expected(feeds(2, 8)))
    lane.free()
    assert cuda.memory == {}


def test_a_run_that_fails_names_the_engine_and_the_gpu() -> None:
    loaded, _ = fake_engine(ENGINE)
    loaded.engine.fails = True
    with pytest.raises(TargetUnavailable, match=r"mean_fp16\.engine failed on stand-in: it gave no reason\."):
        EngineLane(loaded, None).run(0, feeds(2, 8))
