"""What follows from what a user said: the floor of int8, and which texts make it and which judge it."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.spec.build_options import BuildOptions
from exporter.spec.model import DType
from exporter.spec.options import ExportOptions, read_floor
from exporter.spec.origin import NO_TRUST
from graphs.pooling.head import Cut
from poolfold.errors import InputError


def options(texts: tuple[str, ...], *dtypes: DType) -> ExportOptions:
    return ExportOptions(
        model="m",
        output=Path("o"),
        pooling=(),
        dtypes=dtypes,
        targets=(),
        shapes=None,
        build=BuildOptions(),
        texts=texts,
        cut=Cut(),
        revision=None,
        force=False,
        skip_latency=True,
        bench_seconds=1,
        threads=None,
        trust=NO_TRUST,
    )


def test_no_text_both_makes_int8_and_judges_it() -> None:
    texts = tuple(f"text {number % 60}" for number in range(100))  # some of them twice
    asked = options(texts, DType.FP32, DType.INT8)
    assert len(asked.calibrating) == 25
    assert not set(asked.calibrating) & set(asked.judging)
    assert set(asked.calibrating) | set(asked.judging) == set(texts)
    assert len(options(tuple(map(str, range(10_000))), DType.INT8).calibrating) == 128


@pytest.mark.parametrize(("texts", "dtype"), [(100, DType.FP32), (15, DType.INT8), (0, DType.INT8)])
def test_without_int8_and_of_few_texts_all_judge(texts: int, dtype: DType) -> None:
    asked = options(tuple(map(str, range(texts))), dtype)
    assert (asked.calibrating, asked.judging) == ((), asked.texts)


def test_the_floor() -> None:
    assert read_floor(None, (DType.FP32,)) == 0.99
    assert read_floor(0.95, (DType.FP32, DType.INT8)) == read_floor(0.95, (DType.FP8,)) == 0.95


@pytest.mark.parametrize(
    ("floor", "dtype", "message"),
    [
        (0.95, DType.FP32, "--int8-floor 0.95 needs --dtype int8 or fp8. Add one, or leave the floor out."),
        *((f, DType.INT8, f"--int8-floor is {f}; expected a cosine between 0 and 1, such as 0.99.")
          for f in (0.0, 1.0, 99.0, -1.0, float("nan"))),
    ],
)  # fmt: skip
def test_a_floor_that_means_nothing_is_refused(floor: float, dtype: DType, message: str) -> None:
    with pytest.raises(InputError) as refused:
        read_floor(floor, (dtype,))
    assert str(refused.value) == message
