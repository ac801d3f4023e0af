"""The calls that people write for sentence-transformers, on vectors that are known exactly."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import poolfold
from poolfold import Encoder, InputError
from poolfold.encoder.call import Options, read_call
from tests.artifacts import DIM, WORDS, expected, model_values, text_values, write_artifact

TEXTS = ["w1 w2", "w3", "w4 w5 w6"]


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Encoder]:
    """An encoder to change."""
    write_artifact(tmp_path / "DIR")
    with poolfold.load(tmp_path / "DIR", threads=1) as encoder:
        yield encoder


def with_prompts(directory: Path, **prompts: str) -> Encoder:
    write_artifact(directory, model=model_values(text=text_values(prompts=prompts)))
    return poolfold.load(directory, threads=1)


def test_one_text_gives_one_vector(encoder: Encoder):
    vector = encoder.encode("w1 w2")
    assert vector.shape == (DIM,)
    np.testing.assert_array_equal(vector, expected(["w1 w2"])[0])
    np.testing.assert_array_equal(encoder.encode(np.str_("w1 w2")), vector)


@pytest.mark.parametrize("name", ["texts", "inputs", "sentences"])
def test_three_names_are_one_argument(encoder: Encoder, name: str):
    np.testing.assert_array_equal(encoder.encode(**{name: TEXTS}), expected(TEXTS))
    np.testing.assert_array_equal(encoder.encode_query(**{name: TEXTS}), expected([f"w1 w2 {t}" for t in TEXTS]))
    with pytest.raises(InputError, match=r"the texts are given as .* and as .*, which are one argument"):
        encoder.encode(**{name: TEXTS, "sentences" if name != "sentences" else "inputs": TEXTS})


def test_the_second_argument_is_a_batch_size_or_a_prompts_name(encoder: Encoder):
    np.testing.assert_array_equal(encoder.encode(TEXTS, 2), expected(TEXTS))
    np.testing.assert_array_equal(encoder.encode(TEXTS, "query"), expected([f"w1 w2 {text}" for text in TEXTS]))
    for encode in (encoder.encode, encoder.encode_query):
        with pytest.raises(InputError, match="got two prompts' names, 'query' and prompt_name 'passage'"):
            encode(TEXTS, "query", prompt_name="passage")


def test_prompt_is_taken_before_prompt_name_and_says_so(encoder: Encoder):
    with pytest.warns(UserWarning, match="both prompt and prompt_name 'query'; prompt is taken") as told:
        np.testing.assert_array_equal(encoder.encode(["w3"], prompt="w9 ", prompt_name="query"), expected(["w9 w3"]))
    assert told[0].filename == __file__


@pytest.mark.parametrize(
    ("prompts", "query", "document"),
    [
        ({}, "", ""),
        ({"query": "w7 "}, "w7 ", ""),
        ({"query": "w7 ", "document": "w8 "}, "w7 ", "w8 "),
        # As sentence-transformers does it: `document` is there, and empty.
        ({"passage": "w9 "}, "", ""),
    ],
)
def test_the_prompts_of_queries_and_documents(tmp_path: Path, prompts: dict[str, str], query: str, document: str):
    with with_prompts(tmp_path / "DIR", **prompts) as encoder:
        np.testing.assert_array_equal(encoder.encode_query(["w3"]), expected([f"{query}w3"]))
        np.testing.assert_array_equal(encoder.encode_document("w3"), expected([f"{document}w3"])[0])
        np.testing.assert_array_equal(encoder.encode_query(["w3"], prompt="w1 "), expected(["w1 w3"]))
        np.testing.assert_array_equal(encoder.encode_query(["w3"], "document"), expected([f"{document}w3"]))


def test_prompts_that_are_set_are_all_there_are(own: Encoder):
    own.prompts = {"passage": "w7 ", "corpus": "w8 "}
    np.testing.assert_array_equal(own.encode_document(["w3"]), expected(["w7 w3"]))
    own.prompts = {"corpus": "w8 "}
    np.testing.assert_array_equal(own.encode_document(["w3"]), expected(["w8 w3"]))
    np.testing.assert_array_equal(own.encode_query(["w3"]), expected(["w3"]))
    with pytest.raises(InputError, match="no prompt is called 'query'; this model's prompts: 'corpus'"):
        own.encode(["w3"], prompt_name="query")
    own.default_prompt_name = "corpus"
    np.testing.assert_array_equal(own.encode(["w3"]), expected(["w8 w3"]))


@pytest.mark.parametrize(
    ("default", "asked", "used"),
    [
        ("query", {}, "w1 w2 "),
        ("query", {"prompt_name": "passage"}, ""),
        ("query", {"prompt": "w9 "}, "w9 "),
        ("query", {"prompt": ""}, ""),
        (None, {}, ""),
        ("gone", {}, ""),
    ],
)
def test_which_prompt_is_used(tmp_path: Path, default: str | None, asked: dict[str, str], used: str):
    write_artifact(tmp_path / "DIR", model=model_values(text=text_values(default_prompt_name=default)))
    with poolfold.load(tmp_path / "DIR") as encoder:
        np.testing.assert_array_equal(encoder.encode(["w3"], **asked), expected([f"{used}w3"]))


def test_an_unknown_prompt_name_lists_the_known(encoder: Encoder):
    with pytest.raises(InputError, match="'qurey'; this model's prompts: 'query', 'document', 'passage'"):
        encoder.encode([], prompt_name="qurey")


def test_tensors_only_for_who_asks(encoder: Encoder):
    tensor = encoder.encode(TEXTS, convert_to_tensor=True)
    assert isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32
    np.testing.assert_array_equal(tensor.numpy(), expected(TEXTS))
    listed = encoder.encode(TEXTS, convert_to_numpy=False)
    assert isinstance(listed, list) and all(isinstance(row, torch.Tensor) for row in listed)
    np.testing.assert_array_equal(torch.stack(listed).numpy(), expected(TEXTS))
    assert encoder.encode("w1", convert_to_tensor=True).shape == (DIM,)
    assert encoder.encode("w1", convert_to_numpy=False).shape == (DIM,)
    assert encoder.encode([], convert_to_numpy=False) == []
    assert encoder.encode([], convert_to_tensor=True).shape == (0, DIM)
    assert encoder.encode(TEXTS, convert_to_tensor=True, precision="binary").dtype == torch.int8
    assert encoder.device == torch.device("cpu") == tensor.device


def test_unit_length_for_who_asks(encoder: Encoder):
    unit = expected(TEXTS) / np.linalg.norm(expected(TEXTS), axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(TEXTS, normalize_embeddings=True), unit, rtol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        cut = encoder.encode(TEXTS, normalize_embeddings=True, dimensions=3)
    first = expected(TEXTS)[:, :3]
    np.testing.assert_allclose(cut, first / np.linalg.norm(first, axis=1, keepdims=True), rtol=1e-6)


@pytest.mark.filterwarnings("ignore:dimensions is")
def test_truncate_dim_keeps_the_values_as_they_are(own: Encoder):
    np.testing.assert_array_equal(own.encode(TEXTS, truncate_dim=3), expected(TEXTS)[:, :3])
    np.testing.assert_array_equal(own.encode(TEXTS, truncate_dim=DIM + 5), expected(TEXTS))
    own.truncate_dim = 5
    assert own.get_embedding_dimension() == own.get_sentence_embedding_dimension() == 5
    assert own.encode("w1").shape == (5,)
    with own.truncate_embeddings(2):
        assert own.encode(TEXTS).shape == (3, 2) and own.get_embedding_dimension() == 2
    assert own.encode(TEXTS, truncate_dim=4).shape == own.encode(TEXTS, dimensions=4).shape == (3, 4)
    own.truncate_dim = 2 * DIM
    assert own.encode(TEXTS).shape == (3, DIM) and own.get_embedding_dimension() == DIM
    with pytest.raises(InputError, match="got dimensions 4 and truncate_dim 3"):
        own.encode(TEXTS, dimensions=4, truncate_dim=3)
    for wrong in (0, 2.5, True):
        with pytest.raises(InputError, match=f"truncate_dim is {wrong}"):
            own.encode(TEXTS, truncate_dim=wrong)


def test_no_precision_is_float32(encoder: Encoder):
    np.testing.assert_array_equal(encoder.encode(TEXTS, precision=None), expected(TEXTS))


@pytest.mark.parametrize("value", ["sentence", "last_hidden_state", 3])
def test_an_output_that_there_is_not(encoder: Encoder, value: Any):
    with pytest.raises(
        InputError, match=r"output_value is .*; expected 'sentence_embedding', 'token_embeddings' or None"
    ):
        encoder.encode(TEXTS, output_value=value)


def test_a_device_that_the_encoder_is_not_on(encoder: Encoder):
    np.testing.assert_array_equal(encoder.encode(TEXTS, device="cpu"), expected(TEXTS))
    np.testing.assert_array_equal(encoder.encode(TEXTS, device=torch.device("cpu")), expected(TEXTS))
    with pytest.raises(
        InputError, match=r"got device 'cuda:0', and this encoder computes on cpu\. .* provider and gpu"
    ):
        encoder.encode(TEXTS, device="cuda:0")


def test_the_bar_is_on_standard_error(encoder: Encoder, capsys: pytest.CaptureFixture[str]):
    done: list[int] = []
    encoder.encode(TEXTS, batch_size=2, show_progress_bar=True, progress=done.append)
    out, err = capsys.readouterr()
    assert out == "" and "3/3" in err and done == [2, 3]
    encoder.encode(TEXTS)
    assert capsys.readouterr() == ("", "")


def test_vectors_come_while_texts_are_read(encoder: Encoder):
    read: list[int] = []

    def endless() -> Iterator[str]:
        for number in itertools.count():
            read.append(number)
            yield f"w{number % 20} " * (1 + number % 7)

    vectors = encoder.encode_iter(endless(), batch_size=4)
    assert read == []
    first = list(itertools.islice(vectors, 100))
    texts = list(itertools.islice(endless(), 100))
    np.testing.assert_array_equal(first, expected(texts))
    assert len(read) < 100 + 100 + 2 * 8 * 4  # those of `texts`, and a few batches ahead
    assert list(encoder.encode_iter([])) == []


def test_a_stream_refuses_its_arguments_at_once_and_its_texts_when_they_come(encoder: Encoder):
    with pytest.raises(InputError, match="batch_size is 0"):
        encoder.encode_iter(iter(TEXTS), batch_size=0)
    with pytest.raises(InputError, match="Precision 'int3' is not supported"):
        encoder.encode_iter(iter(TEXTS), precision="int3")
    vectors = encoder.encode_iter(itertools.chain(["w1"] * 8, [None]), batch_size=1)
    with pytest.raises(InputError, match="text 8 is of type NoneType"):
        list(vectors)
    late = encoder.encode_iter(["w1"] * 70 + ["w2 nan"], batch_size=4)
    with pytest.raises(poolfold.CheckFailed, match=r"text 70 \('w2 nan'\)"):
        list(late)


def test_a_loop_goes_on_meanwhile(encoder: Encoder):
    async def both() -> list[Any]:
        return await asyncio.gather(encoder.aencode(TEXTS), encoder.aencode("w1", normalize_embeddings=True))

    many, one = asyncio.run(both())
    np.testing.assert_array_equal(many, expected(TEXTS))
    assert one.shape == (DIM,) and abs(np.linalg.norm(one) - 1) < 1e-6


def test_ids_as_they_are_computed(encoder: Encoder):
    found = encoder.tokenize(["w1 w2", "w3"])
    assert found["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    ids = [WORDS.index(word) for word in ("[CLS]", "w1", "w2", "[SEP]")]
    assert found["input_ids"][0].tolist() == ids
    np.testing.assert_array_equal(encoder.embed(**found), expected(["w1 w2", "w3"]))
    assert encoder.preprocess("w1")["input_ids"].shape == (1, 3)


def test_settings_go_with_a_copy(own: Encoder):
    import copy

    own.prompts, own.max_seq_length, own.similarity_fn_name = {"q": "w1 "}, 5, "dot"
    other = copy.deepcopy(own)
    given = "w2 w3 w4"
    assert (dict(other.prompts), other.max_seq_length, other.similarity_fn_name) == ({"q": "w1 "}, 5, "dot")
    np.testing.assert_array_equal(other.encode([given], "q", truncate=True), expected(["w1 w2 w3"]))
    fresh = copy.deepcopy(poolfold.load(own.again.args[0][0]))  # type: ignore[union-attr]
    assert fresh.max_seq_length == 16


def test_the_arguments_of_encode_stand_alike_wherever_they_stand():
    of_encode = inspect.signature(Encoder.encode).parameters
    change_the_type = {"texts", "batch_size", "output_value", "precision", "convert_to_numpy", "convert_to_tensor"}
    assert set(Options.__annotations__) == of_encode.keys() - change_the_type - {"self"}
    of_call = inspect.signature(read_call).parameters
    assert {name: of.default for name, of in of_call.items() if name != "encoder"} == {
        name: of_encode[name].default for name in of_call if name != "encoder"
    }


@pytest.mark.slow
def test_the_plain_call_has_its_type(tmp_path: Path):
    from mypy import api

    (tmp_path / "program.py").write_text("""
import numpy as np, numpy.typing as npt
from typing import Any, assert_type
import poolfold
encoder: poolfold.Encoder = poolfold.load("DIR")
assert_type(encoder.encode(["a"]), npt.NDArray[np.float32])
assert_type(encoder.encode("a", normalize_embeddings=True), npt.NDArray[np.float32])
assert_type(encoder.encode([("a", "b")], batch_size=8, prompt_name="query"), npt.NDArray[np.float32])
assert_type(encoder.encode(sentences=["a"]), npt.NDArray[np.float32])
assert_type(encoder.encode(["a"], precision="binary"), npt.NDArray[Any])
assert_type(encoder.encode(["a"], convert_to_tensor=True), Any)
encoder.encode(["a"], max_lenght=3)
""")
    out, errors, _ = api.run(["--config-file", "", "--strict", str(tmp_path / "program.py")])
    wrong = {line.split(":")[1] for line in out.splitlines() if "error:" in line}
    assert wrong == {"12"}, out + errors
