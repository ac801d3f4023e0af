"""The C++ loader cuts batches as Python's does, and gets through with as little memory."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poolfold import Encoder, OutOfMemory
from poolfold.manifest import RunMemory
from poolfold.sessions.memory import available_bytes
from poolfold.tokenise import Budget, Tokenizer, batches
from tests.artifacts import (
    DIM,
    WORDS,
    model_values,
    relist,
    rewrite_manifest,
    text_values,
    tokenizer_json,
    write_artifact,
)
from tests.cpp.conftest import Driver
from tests.poolfold.sessions.little_memory import PAIRS, write_pairs
from tests.poolfold.sessions.test_memory import KERNELS, write

LIMIT, MIB = 16_000, 2**20
SIZES = st.integers(0, 2**20)


@settings(max_examples=150, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9000), max_size=80),
    batch_size=st.integers(1, 40),
    memory=st.integers(1, 2**40),
    run=st.tuples(SIZES, SIZES, SIZES),
    behind=st.integers(0, 600),
)
def test_batches_are_cut_as_in_python(
    driver: Driver, lengths: list[int], batch_size: int, memory: int, run: tuple[int, int, int], behind: int
) -> None:
    expected = list(batches(lengths, batch_size, Budget(memory, RunMemory(*run)), behind))
    answer = driver.ask("batches", lengths=lengths, batch_size=batch_size, memory=memory, run=run, behind=behind)
    assert answer["batches"] == expected


@pytest.mark.parametrize(("files", "left"), KERNELS)
def test_what_the_kernel_leaves(driver: Driver, tmp_path: Path, files: dict[str, str], left: int) -> None:
    assert driver.ask("memory", root=str(write(tmp_path, **files))) == {"bytes": left}


def test_what_this_machine_leaves(driver: Driver) -> None:
    assert driver.ask("memory", root="")["bytes"] == pytest.approx(available_bytes(), rel=0.2)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """An artifact whose graph asks for [batch, seq, seq] floats at once: ids -> their sum times the largest of them."""
    manifest = write_artifact(tmp_path / "DIR")
    graph = msgspec.structs.replace(manifest.graphs[0], weights=None, run_memory=PAIRS)
    write_pairs(tmp_path / "DIR" / graph.path)
    (tmp_path / "DIR" / (manifest.graphs[0].weights or "")).unlink()
    files = [f for f in relist(tmp_path / "DIR", manifest, graph.path) if f.path != manifest.graphs[0].weights]
    model = model_values(text=text_values(max_seq_length=LIMIT))
    rewrite_manifest(tmp_path / "DIR", manifest, graphs=(graph,), model=model, files=tuple(files))
    return tmp_path / "DIR"


@pytest.fixture
def limited(cpp_build: Path, pairs: Path) -> Iterator[Callable[..., Driver]]:
    """Load it in a process that may then take 300 MiB more."""
    process = Driver(cpp_build / "tests" / "driver")

    def load(**options: int) -> Driver:
        assert "error" not in process.ask("load", directory=str(pairs), threads=1, **options)
        process.ask("rows", ids=[[2, 3]], batch_size=1)  # what a session takes once and for all
        limit = size(process, "VmData") + 300 * MIB
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
        return process

    yield load
    process.close()


def size(process: Driver, name: str) -> int:
    """A size of the process in bytes, as the kernel names it."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def peak(process: Driver, ids: list[list[int]]) -> int:
    """Embed a batch, whose vectors must be right, and tell how much more memory it took than there was."""
    Path(f"/proc/{process.pid}/clear_refs").write_text("5")
    before = size(process, "VmRSS")
    vectors = process.ask("batch", ids=ids, mask=np.ones_like(ids).tolist())["vectors"]
    np.testing.assert_array_equal([row[0] for row in vectors], [float(max(row) * sum(row)) for row in ids])
    return size(process, "VmHWM") - before


ROWS = [[2, *[6 + number] * 4094, 3] for number in range(8)]
"""64 MiB each."""


def test_a_batch_is_cut_by_what_the_process_may_take(limited: Callable[..., Driver]) -> None:
    assert peak(limited(), ROWS) < 200 * MIB  # two rows: half of what is left


def test_a_batch_is_cut_by_what_the_caller_allows(limited: Callable[..., Driver]) -> None:
    assert peak(limited(memory=70 * MIB), ROWS) < 130 * MIB


def test_a_batch_that_does_not_fit_runs_in_parts(limited: Callable[..., Driver]) -> None:
    """All eight ask for 512 MiB."""
    assert peak(limited(memory=2**40), ROWS) > 200 * MIB


def test_what_an_earlier_run_took_is_not_in_the_way(limited: Callable[..., Driver]) -> None:
    """A row of 8000 tokens asks for 244 MiB at once, and ONNX Runtime keeps 95 of a row of 5000."""
    driver = limited()
    for length in (5000, 8000):
        assert peak(driver, [[7] * length]) > 90 * MIB


class Full:
    """A session with as little memory as the process of the test."""

    def run(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> NoReturn:
        raise OutOfMemory("", 4 * input_ids.shape[1] ** 2)

    def close(self) -> None:
        """Nothing to free."""


def test_a_row_that_does_not_fit_is_named_as_in_python(limited: Callable[..., Driver]) -> None:
    text = text_values(max_seq_length=LIMIT)
    encoder = Encoder(
        Full(),
        Tokenizer(tokenizer_json(), text, len(WORDS)),
        strategy="mean",
        dtype="fp32",
        target="onnxruntime",
        dim=DIM,
        model=model_values(text=text),
    )
    ids, mask = [[7] * 12_000], [[1] * 12_000]
    with pytest.raises(OutOfMemory, match=r"row 0 of 12000 tokens .* asked for 549 MiB") as refusal:
        encoder.embed(ids, mask)
    driver = limited()
    assert driver.ask("batch", ids=ids, mask=mask) == {"error": "OutOfMemory", "message": str(refusal.value)}
    assert peak(driver, ROWS[:1]) > 60 * MIB  # the encoder is as good as before
