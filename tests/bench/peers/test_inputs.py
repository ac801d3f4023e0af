from collections import Counter

import numpy as np
import pytest

from bench.peers import inputs
from exporter.model.checkpoint.read import read_spec
from exporter.spec.model import Source
from tests.models import tiny_checkpoint


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    folder = tiny_checkpoint(
        tmp_path_factory.mktemp("inputs") / "tiny", max_seq_length=512, config={"max_position_embeddings": 512}
    )
    return read_spec(Source("tiny", folder, None))


@pytest.fixture(scope="module")
def loads(spec):
    return {w.name: w for w in inputs.timed(spec)}


def texts(workload):
    return Counter(
        tuple(ids[mask == 1].tolist()) for batch in workload.batches for ids, mask in zip(*batch, strict=True)
    )


def test_the_shapes(loads):
    assert {name: [b.input_ids.shape for b in w.batches] for name, w in loads.items() if name != inputs.SORTED} == {
        "1x16": [(1, 16)],
        "1x128": [(1, 128)],
        "1x512": [(1, 512)],
        "32x128": [(32, 128)],
        "32x128 ragged": [(32, 128)],
    }
    assert set(loads) == set(inputs.WORKLOADS)
    sizes = [w.tokens for w in loads.values()]
    assert sizes == sorted(sizes), "memory is allocated for the largest last"


def test_about_half_of_the_ragged_batch_is_real_and_all_of_the_full_one(loads):
    ragged, full = loads[inputs.RAGGED], loads[inputs.FULL]
    assert 0.45 < ragged.real_tokens / ragged.tokens < 0.55
    assert full.real_tokens == full.tokens


def test_the_sorted_batches_hold_the_texts_of_the_ragged_one(loads):
    ragged, in_order = loads[inputs.RAGGED], loads[inputs.SORTED]
    assert texts(ragged) == texts(in_order)
    assert in_order.batch == 32


def test_sorted_batches_grow_in_length_and_hold_little_padding(loads):
    batches = loads[inputs.SORTED].batches
    assert [len(batch.input_ids) for batch in batches] == [inputs.SORTED_ROWS] * 8
    lengths = np.concatenate([batch.attention_mask.sum(axis=1) for batch in batches])
    assert (np.diff(lengths) >= 0).all()
    assert all(batch.attention_mask.any(axis=0).all() for batch in batches), "each is as wide as its longest text"
    assert loads[inputs.SORTED].real_tokens / loads[inputs.SORTED].tokens > 0.9


def test_the_largest_batch_is_full(spec):
    largest = inputs.largest(spec)
    assert (largest.name, largest.batch, largest.seq_len, largest.real_tokens) == ("32x512", 32, 512, 32 * 512)


def test_a_compiler_is_warmed_up_on_every_shape(loads):
    shapes = inputs.shapes(tuple(loads.values()))
    assert {tuple(shape) for shape in shapes} == {b.input_ids.shape for w in loads.values() for b in w.batches}
    assert len(shapes) == len({tuple(shape) for shape in shapes})
