import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RawTokenizer
from tokenizers.models import WordLevel

import poolfold
from poolfold import ArtifactError, CheckFailed, Encoder, InputError
from poolfold.sessions import Session
from poolfold.tokenise import Tokenizer
from tests.artifacts import CLS, DIM, NAN, SEP, WORDS, ZERO, expected, model_values, table, text_values, write_artifact

SENTENCES = st.lists(st.sampled_from(WORDS[6:]), max_size=20).map(" ".join)


@dataclass
class Recorded:
    """A session that notes the shapes it was given."""

    session: Session
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    def run(self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        self.shapes.append(input_ids.shape)
        return self.session.run(input_ids, attention_mask)

    def close(self) -> None:
        self.session.close()


@dataclass
class Constant:
    """A session that gives one array whatever it is asked."""

    vectors: npt.NDArray[Any]

    def run(self, input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        return self.vectors

    def close(self) -> None:
        pass


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(SENTENCES, max_size=40), batch_size=st.integers(1, 50))
def test_rows_come_in_input_order(encoder: Encoder, texts: list[str], batch_size: int):
    vectors = encoder.encode(texts, batch_size)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, expected(texts))


def test_batches_hold_texts_of_like_length(encoder: Encoder):
    texts = [" ".join(["w1"] * count) for count in (1, 14, 2, 13, 1, 14, 2, 13)]
    recorded = Recorded(encoder.session)
    np.testing.assert_array_equal(replace(encoder, session=recorded).encode(texts, batch_size=2), expected(texts))
    assert recorded.shapes == [(2, 16), (2, 15), (2, 4), (2, 3)]


def test_no_text_and_no_row_give_no_vector(encoder: Encoder):
    for vectors in (encoder.encode([]), encoder.embed(*np.zeros((2, 0, 5), np.int64))):
        assert (vectors.shape, vectors.dtype) == ((0, DIM), np.float32)


def test_progress_counts_the_texts_that_are_done(encoder: Encoder):
    done: list[int] = []
    encoder.encode(["w1"] * 7, batch_size=3, progress=done.append)
    assert done == [3, 6, 7]


def test_prompts_reach_the_vectors(encoder: Encoder):
    assert dict(encoder.prompts) == {"query": "w1 w2 ", "document": "", "passage": ""}
    np.testing.assert_array_equal(encoder.encode(["w3"], prompt_name="query"), expected(["w1 w2 w3"]))
    with pytest.raises(InputError, match="'other'"):
        encoder.encode([], prompt_name="other")


def test_the_checkpoints_default_prompt_is_used(tmp_path: Path):
    write_artifact(tmp_path / "DIR", model=model_values(text=text_values(default_prompt_name="query")))
    with poolfold.load(tmp_path / "DIR") as encoder:
        np.testing.assert_array_equal(encoder.encode(["w3"]), expected(["w1 w2 w3"]))
        np.testing.assert_array_equal(encoder.encode(["w3"], prompt=""), expected(["w3"]))


def test_the_padding_side_is_the_checkpoints(tmp_path: Path):
    # The cls graph takes column 0, which padding on the left zeroes in all but the longest text.
    write_artifact(tmp_path / "DIR", strategies=("cls",), model=model_values(text=text_values(padding_side="left")))
    with poolfold.load(tmp_path / "DIR") as encoder:
        np.testing.assert_array_equal(encoder.encode(["w3"]), table()[[CLS]])
        with pytest.raises(CheckFailed, match=r"zero for text 0 \('w3'\);"):
            encoder.encode(["w3", "w4 w5"])


def test_threads_share_one_encoder(encoder: Encoder):
    workers, start = 12, threading.Barrier(12)

    def work(seed: int) -> bool:
        chance = random.Random(seed)
        texts = [" ".join(chance.choices(WORDS[6:], k=chance.randrange(20))) for _ in range(60)]
        wanted = expected(texts)
        start.wait(timeout=30)
        return all(np.array_equal(encoder.encode(texts, chance.randrange(1, 20)), wanted) for _ in range(5))

    with ThreadPoolExecutor(workers) as pool:
        assert list(pool.map(work, range(workers))) == [True] * workers


def test_a_vector_that_is_not_finite_is_never_returned(encoder: Encoder):
    texts = ["w1", "w2 w3 nan", "w4"]
    with pytest.raises(CheckFailed, match=r"not finite \(NaN or infinity\) for text 1 \('w2 w3 nan'\);"):
        encoder.encode(texts)
    with pytest.raises(CheckFailed, match=r"not finite.* for row 0, row 2;"):
        encoder.embed([[NAN], [6], [NAN]], [[1], [1], [1]])
    # Control: masked out, it does no harm.
    np.testing.assert_array_equal(encoder.embed([[6, NAN]], [[1, 0]]), table()[[6]])


def test_an_infinite_vector_is_never_returned(tmp_path: Path):
    values = table()
    values[7, 3] = -np.inf
    write_artifact(tmp_path / "DIR", values=values)
    with poolfold.load(tmp_path / "DIR") as encoder, pytest.raises(CheckFailed, match=r"not finite.*text 1 \('w1'\);"):
        encoder.encode(["w0", "w1"])


def test_a_zero_vector_is_never_returned(tmp_path: Path, encoder: Encoder):
    with pytest.raises(CheckFailed, match="vector is zero for row 1;"):
        encoder.embed([[6], [ZERO]], [[1], [1]])
    values = table()
    values[SEP] = -values[CLS]
    write_artifact(tmp_path / "DIR", values=values)
    with poolfold.load(tmp_path / "DIR") as balanced, pytest.raises(CheckFailed, match=r"zero for text 0 \(''\);"):
        balanced.encode(["", "w1"])


def test_a_tiny_vector_is_not_taken_for_zero(tmp_path: Path):
    # Its squares underflow in fp32, so that a computed norm would be 0.
    values = np.full_like(table(), 1e-30)
    write_artifact(tmp_path / "DIR", values=values)
    with poolfold.load(tmp_path / "DIR") as encoder:
        np.testing.assert_allclose(encoder.embed([[6]], [[1]]), values[[6]], rtol=1e-6)


def test_a_long_list_of_bad_rows_is_cut(encoder: Encoder):
    with pytest.raises(CheckFailed, match=r"row 4 and 4 more;"):
        encoder.embed([[NAN]] * 9, [[1]] * 9)


@pytest.mark.parametrize(
    "vectors", [np.ones((2, DIM + 1), np.float32), np.ones((1, DIM), np.float32), np.ones((2, DIM), np.float16)]
)
def test_an_output_of_another_form_is_refused(encoder: Encoder, vectors: npt.NDArray[Any]):
    with pytest.raises(ArtifactError, match=rf"gave {vectors.dtype} .*expected float32 \[2, {DIM}\]"):
        replace(encoder, session=Constant(vectors)).encode(["w1", "w2"])


def test_a_text_without_a_token_is_named(encoder: Encoder):
    raw = RawTokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    bare = replace(encoder, tokenizer=Tokenizer(raw.to_str(), text_values(), len(WORDS)))
    assert bare.encode(["w1"]).shape == (1, DIM)
    with pytest.raises(InputError, match=r"text 1 \(''\) gives no token"):
        bare.encode(["w1", ""])


def test_a_closed_encoder_says_so(tmp_path: Path):
    write_artifact(tmp_path / "DIR")
    with poolfold.load(tmp_path / "DIR") as encoder:
        assert encoder.encode(["w1"]).shape == (1, DIM)
    encoder.close()
    with pytest.raises(InputError, match="closed"):
        encoder.encode(["w1"])


def test_what_was_loaded_cannot_be_set(encoder: Encoder):
    assert (encoder.strategy, encoder.dtype, encoder.target) == ("mean", "fp32", "onnxruntime")
    assert (encoder.dim, encoder.max_seq_length) == (DIM, 16)
    with pytest.raises(TypeError):
        encoder.prompts["new"] = "prompt"  # type: ignore[index]
    for name in ("strategy", "dtype", "target", "dim", "session", "device"):
        with pytest.raises(AttributeError):
            setattr(encoder, name, None)
