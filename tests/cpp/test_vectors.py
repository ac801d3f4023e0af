"""C++ and Python give the same vectors for the same ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import onnx_ir as ir
import pytest

import poolfold
from exporter.parity.corpus import corpus
from exporter.parity.tokens import Tokens, make_batch, tokenise
from poolfold.load import open_encoder
from poolfold.verify import verify
from tests.artifacts import CLS, SEP, leave_one_form, relist, rewrite_manifest, table, write_artifact
from tests.cpp.conftest import Driver, as_cpp

LIMIT = 1e-6


@pytest.fixture(scope="module", params=["cls", "mean"])
def encoder(request: pytest.FixtureRequest, minilm: Path, driver: Driver) -> poolfold.Encoder:
    """Python's, after the driver has loaded the same."""
    assert driver.ask("load", directory=str(minilm), strategy=request.param)["strategy"] == request.param
    return poolfold.load(minilm, strategy=request.param)


@pytest.fixture(scope="module")
def tokens(encoder: poolfold.Encoder) -> Tokens:
    return tokenise(corpus(encoder.max_seq_length), encoder.tokenizer)


def largest_difference(driver: Driver, batch: tuple[np.ndarray, np.ndarray], expected: np.ndarray) -> float:
    answer = driver.ask("batch", ids=batch[0].tolist(), mask=batch[1].tolist())
    vectors = np.array(answer["vectors"], dtype=np.float32)
    assert vectors.shape == expected.shape
    return float(np.abs(vectors - expected).max())


def test_each_text_alone(driver: Driver, encoder: poolfold.Encoder, tokens: Tokens) -> None:
    for row in range(len(tokens.rows)):
        batch = make_batch(tokens, [row])
        expected = encoder.embed(batch.input_ids, batch.attention_mask)
        assert largest_difference(driver, batch[:2], expected) <= LIMIT


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_batches_on_either_side(driver: Driver, encoder: poolfold.Encoder, tokens: Tokens, side: str) -> None:
    for start in range(0, len(tokens.rows), 16):
        batch = make_batch(tokens, range(start, min(start + 16, len(tokens.rows))), side=side)
        expected = encoder.embed(batch.input_ids, batch.attention_mask)
        assert largest_difference(driver, batch[:2], expected) <= LIMIT


@pytest.mark.parametrize(
    ("batch_size", "asked"), [(1, {}), (7, {}), (32, {}), (1000, {}), (32, {"memory": 2**23}), (32, {"memory": 1})]
)
def test_ragged_rows(
    driver: Driver, encoder: poolfold.Encoder, tokens: Tokens, batch_size: int, asked: dict[str, int]
) -> None:
    expected = encoder.encode(tokens.texts, batch_size)
    answer = driver.ask("rows", ids=tokens.rows, batch_size=batch_size, **asked)
    assert np.abs(np.array(answer["vectors"], dtype=np.float32) - expected).max() <= LIMIT


def test_the_padding_free_form(driver: Driver, minilm: Path, encoder: poolfold.Encoder, tokens: Tokens) -> None:
    """A batch with much padding runs on it in both languages."""
    by_length = sorted(range(len(tokens.rows)), key=lambda row: len(tokens.rows[row]))
    batch = make_batch(tokens, [*by_length[:6], by_length[-1]])
    assert batch.attention_mask.mean() < 0.5
    free = open_encoder(minilm, verify(minilm), encoder.strategy, form="padding-free")
    assert largest_difference(driver, batch[:2], free.embed(batch.input_ids, batch.attention_mask)) <= LIMIT


def test_a_changed_id_changes_the_vector(driver: Driver, encoder: poolfold.Encoder, tokens: Tokens) -> None:
    """The negative control."""
    batch = make_batch(tokens, [5])
    expected = encoder.embed(batch.input_ids, batch.attention_mask)
    changed = batch.input_ids.copy()
    changed[0, 1] += 1
    assert largest_difference(driver, (changed, batch.attention_mask), expected) > 1e-3


def test_nothing_in_nothing_out(driver: Driver, encoder: poolfold.Encoder) -> None:
    for answer in (driver.ask("rows", ids=[], batch_size=4), driver.ask("batch", ids=[], mask=[])):
        assert (answer["vectors"], answer["dim"]) == ([], encoder.dim)


@pytest.mark.parametrize(
    ("ids", "mask"),
    [
        ([[101, -1]], [[1, 1]]),
        ([[101, 102], [101, 30522]], [[1, 1], [1, 1]]),
        ([[101, 102]], [[1, 2]]),
        ([[101, 102], [101, 102]], [[1, 1], [0, 0]]),
        ([[101] * 257], [[1] * 257]),
    ],
)
def test_ids_and_masks_are_refused_for_the_same_reason(
    driver: Driver, encoder: poolfold.Encoder, ids: Sequence[Sequence[int]], mask: Sequence[Sequence[int]]
) -> None:
    with pytest.raises(poolfold.InputError) as refusal:
        encoder.embed(ids, mask)
    answer = driver.ask("batch", ids=ids, mask=mask)
    assert answer == {"error": "InputError", "message": as_cpp(str(refusal.value))}


@pytest.mark.parametrize("strategy", ["mean", "cls"])
def test_an_artifact_of_0_1_0_gives_the_vectors_that_it_gave(driver: Driver, strategy: str) -> None:
    folder = Path(__file__).parents[1] / "data" / "artifact-0.1.0"
    texts = (folder / "texts.txt").read_text().splitlines()
    assert driver.ask("load", directory=str(folder / "artifact"), strategy=strategy)["strategy"] == strategy
    with poolfold.load(folder / "artifact", strategy=strategy) as encoder:
        ids = encoder.tokenizer.ids(texts, "")
    answer = driver.ask("rows", ids=ids, batch_size=2)
    expected = np.load(folder / f"{strategy}_fp32.npy")
    assert np.abs(np.array(answer["vectors"], dtype=np.float32) - expected).max() <= LIMIT


def test_a_form_that_serves_every_batch_is_the_only_one_that_is_opened(driver: Driver, tmp_path: Path) -> None:
    """The plain graph of this artifact is no graph."""
    leave_one_form(tmp_path / "DIR", write_artifact(tmp_path / "DIR"))
    assert driver.ask("load", directory=str(tmp_path / "DIR"))["dtype"] == "fp32"
    answer = driver.ask("rows", ids=[[CLS, 7, 8, SEP], [CLS, 9, SEP]], batch_size=2)
    np.testing.assert_array_equal(
        answer["vectors"], [table()[row].mean(axis=0) for row in ([CLS, 7, 8, SEP], [CLS, 9, SEP])]
    )


def test_weights_in_bfloat16_are_widened_exactly(driver: Driver, tmp_path: Path) -> None:
    manifest = write_artifact(tmp_path / "DIR")
    graph = manifest.graphs[0]
    path = tmp_path / "DIR" / graph.path
    model = ir.load(path)
    bfloat16 = ir.tensor(table().astype(ir.DataType.BFLOAT16.numpy()), name="table")
    value = model.graph.initializers["table"]
    value.const_value, value.type = bfloat16, ir.TensorType(bfloat16.dtype)
    for node in model.graph:
        if node.op_type == "Gather" and node.inputs[0] is value:
            node.outputs[0].type = ir.TensorType(bfloat16.dtype)
    ir.save(model, path, external_data=Path(graph.weights or "").name, size_threshold_bytes=128)
    rewritten = msgspec.structs.replace(manifest, files=relist(tmp_path / "DIR", manifest, graph.path))
    rewrite_manifest(tmp_path / "DIR", rewritten, files=relist(tmp_path / "DIR", rewritten, graph.weights or ""))
    ids = [[CLS, 7, 8, SEP], [CLS, 9, SEP]]
    with poolfold.load(tmp_path / "DIR") as encoder:
        expected = encoder.embed([[*row, *[0] * (4 - len(row))] for row in ids], [[1] * 4, [1, 1, 1, 0]])
    kept = bfloat16.numpy().astype(np.float32)
    np.testing.assert_allclose(expected, [kept[row].mean(axis=0) for row in ids], rtol=1e-6)
    driver.ask("load", directory=str(tmp_path / "DIR"))
    np.testing.assert_array_equal(driver.ask("rows", ids=ids, batch_size=2)["vectors"], expected)
    weights = tmp_path / "DIR" / (graph.weights or "")
    weights.write_bytes(weights.read_bytes()[:-2])
    assert driver.ask("load", directory=str(tmp_path / "DIR"))["error"] == "ArtifactError"
