"""Fewer values of a vector, and fewer bits of each: byte for byte those of sentence-transformers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sentence_transformers import quantize_embeddings

import poolfold
from exporter.spec.model import DType
from graphs.pooling.head import Cut
from poolfold import ArtifactError, CheckFailed, Encoder, InputError
from poolfold.encoder import PRECISIONS, Ranges
from poolfold.encoder.small_vectors import small_vectors
from poolfold.manifest import Manifest, read_manifest
from poolfold.verify import describe
from tests.artifacts import DIM, WORDS, expected, model_values, rewrite_manifest, write_artifact
from tests.conftest import export_here
from tests.models import tiny_checkpoint

TEXTS = ["w1 w2", "w3", "w4 w5 w6 w7", "", "w8 w9 w10"]
SMALL = [precision for precision in PRECISIONS if precision != "float32"]
VALUES = st.floats(-4, 4, width=32)


def with_ranges(directory: Path, ranges: bytes, *, unit: bool = False, trained: tuple[int, ...] = ()) -> Manifest:
    """An artifact of known vectors that has ranges; `unit` says that they have unit length, which is not so."""
    manifest = write_artifact(directory)
    path = directory / "vector_ranges" / "mean.bin"
    path.parent.mkdir()
    path.write_bytes(ranges)
    (strategy,) = manifest.strategies
    modules = ("transformer", "pooling", "normalize") if unit else ("transformer", "pooling")
    return rewrite_manifest(
        directory,
        manifest,
        model=model_values(modules=modules, matryoshka_dimensions=trained),
        strategies=(msgspec.structs.replace(strategy, ranges="vector_ranges/mean.bin"),),
        files=(*manifest.files, describe(directory, path)),
    )


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encoder]:
    """Its ranges are those of its vectors of TEXTS."""
    directory = tmp_path_factory.mktemp("small") / "artifact"
    with_ranges(directory, Ranges.of(expected(TEXTS)).to_bytes(), trained=(4,))
    with poolfold.load(directory, threads=1) as encoder:
        yield encoder


def two_rows(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What the artifact stores of these vectors, as sentence-transformers takes it."""
    ranges = Ranges.of(vectors)
    return np.stack([ranges.lowest, ranges.highest])


def test_ranges_hold_what_few_texts_did_not_show():
    rng = np.random.default_rng(0)
    scales = rng.uniform(0.1, 2, 50)
    seen, others = (rng.normal(1, scales, (n, 50)).astype(np.float32) for n in (84, 10_000))
    ranges = Ranges.of(seen)
    assert ((others < ranges.lowest) | (others > ranges.highest)).mean() < 1e-3
    assert ((others < seen.min(axis=0)) | (others > seen.max(axis=0))).mean() > 0.01
    far = np.zeros((84, 1), np.float32)
    far[0] = 9
    assert Ranges.of(far).highest == 9 and Ranges.of(far).lowest < 0


@settings(max_examples=100, deadline=None)
@given(
    seen=arrays.arrays(np.float32, st.tuples(st.integers(1, 6), st.just(11)), elements=VALUES),
    vectors=arrays.arrays(np.float32, st.tuples(st.integers(1, 6), st.just(11)), elements=VALUES),
    precision=st.sampled_from(SMALL),
)
def test_bytes_are_those_of_sentence_transformers(seen, vectors, precision):
    """Values beyond the ranges, and those that never vary, included."""
    small = small_vectors(precision, None, dim=11, normalized=True, ranges=Ranges.of(seen))
    theirs = quantize_embeddings(vectors, precision=precision, ranges=two_rows(seen))
    got = small.of(small.cut(vectors))
    assert (got.dtype, got.shape) == (theirs.dtype, (len(vectors), small.width)) and small.dtype == theirs.dtype
    np.testing.assert_array_equal(got, theirs)


@pytest.mark.parametrize("precision", SMALL)
@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_encode_gives_them_whatever_the_batch(encoder: Encoder, precision: str, batch_size: int):
    theirs = quantize_embeddings(expected(TEXTS), precision=precision, ranges=two_rows(expected(TEXTS)))
    for texts in (TEXTS, iter(TEXTS)):
        got = encoder.encode(texts, batch_size, precision=precision)
        assert got.dtype == theirs.dtype
        np.testing.assert_array_equal(got, theirs)
    assert encoder.encode([], precision=precision).shape == (0, theirs.shape[1])


@pytest.mark.parametrize("dimensions", [1, 4, DIM])
def test_dimensions_keep_the_first_values(encoder: Encoder, dimensions: int):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        got = encoder.encode(TEXTS[:3], dimensions=dimensions)
    np.testing.assert_array_equal(got, expected(TEXTS[:3])[:, :dimensions])


def test_what_is_kept_of_unit_vectors_has_unit_length(tmp_path: Path):
    """In int8 too, whose ranges grow as much as the values do on average."""
    vectors = expected(TEXTS)
    with_ranges(tmp_path / "a", Ranges.of(vectors).to_bytes(), unit=True, trained=(4,))
    cut = vectors[:, :4] / np.linalg.norm(vectors[:, :4], axis=1, keepdims=True)
    mean = np.linalg.norm(vectors[:, :4], axis=1).mean()
    with poolfold.load(tmp_path / "a") as encoder:
        np.testing.assert_allclose(encoder.encode(TEXTS, dimensions=4), cut, rtol=1e-6)
        np.testing.assert_array_equal(encoder.encode(TEXTS), vectors)
        got = encoder.encode(TEXTS, dimensions=4, precision="uint8").astype(np.int64)
    theirs = quantize_embeddings(cut, precision="uint8", ranges=two_rows(vectors)[:, :4] / mean)
    assert abs(got - theirs.astype(np.int64)).max() <= 1  # a value on a step may round to either side


def test_a_length_the_checkpoint_was_not_trained_for_warns_once(encoder: Encoder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.encode(["w1"], dimensions=4)
        encoder.encode(["w1"], dimensions=DIM)
    fresh = msgspec.structs.replace(encoder.model, matryoshka_dimensions=())
    for model, says in ((encoder.model, "trained for 4"), (fresh, "does not say for which")):
        again = Encoder(
            encoder.session,
            encoder.tokenizer,
            strategy="mean",
            dtype="fp32",
            target="onnxruntime",
            dim=DIM,
            model=model,
        )
        with pytest.warns(UserWarning, match=says) as told:
            again.encode(["w1"], dimensions=3)
            again.encode(["w1"], dimensions=2)
        assert len(told) == 1


def test_a_cut_that_leaves_zeros_is_refused(tmp_path: Path):
    values = np.ones((len(WORDS), DIM), np.float32)
    values[:, :2] = 0
    values[WORDS.index("w1"), :2] = 3
    write_artifact(tmp_path / "a", values=values)
    with poolfold.load(tmp_path / "a") as encoder, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        assert encoder.encode(["w1", "w2"], dimensions=3).tolist() == [[1, 1, 1], [0, 0, 1]]
        with pytest.raises(CheckFailed, match=r"the vector is zero for text 1 \('w2'\)"):
            encoder.encode(["w1", "w2"], dimensions=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"precision": "int4"},
            "Precision 'int4' is not supported; expected one of float32, int8, uint8, ",
        ),
        ({"dimensions": 0}, f"dimensions is 0; expected 1 to {DIM}"),
        ({"dimensions": DIM + 1}, f"dimensions is {DIM + 1}; expected 1 to {DIM}"),
        ({"dimensions": 2.0}, "dimensions is 2.0"),
    ],
)
def test_what_cannot_be_made_is_refused(encoder: Encoder, arguments: dict[str, object], message: str):
    with pytest.raises(InputError, match=message):
        encoder.encode(TEXTS, **arguments)


def test_an_artifact_without_ranges_says_so(tmp_path: Path):
    write_artifact(tmp_path / "a")
    with poolfold.load(tmp_path / "a") as encoder:
        assert encoder.encode(TEXTS, precision="binary").dtype == np.int8
        for precision in ("int8", "uint8"):
            with pytest.raises(InputError, match=f"precision {precision} needs the ranges .* exported before 0.7"):
                encoder.encode(TEXTS, precision=precision)


def test_ranges_of_another_size_are_refused(tmp_path: Path):
    with_ranges(tmp_path / "a", Ranges.of(expected(TEXTS)).to_bytes()[4:])
    with pytest.raises(ArtifactError, match=r"mean.bin has 92 bytes; expected float32 \[3, 8\]"):
        poolfold.load(tmp_path / "a")


def test_ranges_that_are_not_listed_are_refused(tmp_path: Path):
    manifest = with_ranges(tmp_path / "a", Ranges.of(expected(TEXTS)).to_bytes())
    rewrite_manifest(tmp_path / "a", manifest, files=manifest.files[:-1])
    with pytest.raises(ArtifactError, match=r"'vector_ranges/mean\.bin': named by"):
        poolfold.load(tmp_path / "a")


@pytest.mark.e2e
def test_an_export_stores_what_the_reference_gave(tmp_path: Path):
    folder = tiny_checkpoint(tmp_path / "m", normalize=True)
    manifest = export_here(folder, tmp_path / "out", pooling=("mean", "cls"), dtypes=(DType.FP32,))
    assert [entry.ranges for entry in manifest.strategies] == ["vector_ranges/mean.bin", "vector_ranges/cls.bin"]
    shorter = export_here(folder, tmp_path / "short", pooling=("mean",), cut=Cut(5))
    texts = ["a short text", "another one, which is somewhat longer", "x"]
    for entry in manifest.strategies:
        with poolfold.load(tmp_path / "out", entry.name) as encoder:
            assert encoder.ranges is not None
            vectors = encoder.encode(texts)
            theirs = quantize_embeddings(
                vectors, precision="int8", ranges=encoder.ranges.of_first(entry.dim, unit=False)
            )
            np.testing.assert_array_equal(encoder.encode(texts, precision="int8"), theirs)
            assert (encoder.ranges.lowest < encoder.ranges.highest).all()
            np.testing.assert_allclose(encoder.ranges.lengths[-1], 1, rtol=1e-6)
    assert read_manifest(tmp_path / "short") == shorter and shorter.strategies[0].dim == 5
    with (
        poolfold.load(tmp_path / "out", "mean") as whole,
        poolfold.load(tmp_path / "short") as cut,
        pytest.warns(UserWarning, match="Matryoshka"),
    ):
        np.testing.assert_allclose(whole.encode(texts, dimensions=5), cut.encode(texts), rtol=0, atol=1e-6)
