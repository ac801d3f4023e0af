import numpy as np
import pytest

from bench.gpu.batches import ALONE, FULL, RAGGED, TOKENS, WORKLOADS, timed
from exporter.measure.workloads import ordinary_ids
from exporter.model.checkpoint.read import read_spec
from exporter.spec.model import Source
from tests.models import tiny_checkpoint


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    folder = tiny_checkpoint(tmp_path_factory.mktemp("batches") / "tiny", max_seq_length=128)
    return read_spec(Source("tiny", folder, None))


def test_rows_shapes_and_padding(spec):
    found = {w.name: w for w in timed(spec)}
    assert set(found) == set(WORKLOADS)
    assert {name: (w.batch, w.seq_len) for name, w in found.items()} == {
        ALONE: (1, TOKENS),
        **{
            name: (rows, TOKENS)
            for rows, pair in zip((32, 256), zip(FULL, RAGGED, strict=True), strict=True)
            for name in pair
        },
    }
    for name in (ALONE, *FULL):
        assert found[name].real_tokens == found[name].tokens
    for name in RAGGED:
        assert 0.4 < found[name].real_tokens / found[name].tokens < 0.65


def test_real_tokens_are_ordinary_and_padding_is_padding(spec):
    ordinary = ordinary_ids(spec.text, spec.vocab_size, spec.tokenizer_json)
    for workload in timed(spec):
        for ids, mask in workload.batches:
            assert np.isin(ids[mask == 1], ordinary).all()
            assert (ids[mask == 0] == spec.text.pad_token_id).all()
