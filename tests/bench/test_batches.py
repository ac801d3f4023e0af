from collections import Counter

import numpy as np
import pytest

from bench import batches
from exporter.measure.workloads import ordinary_ids
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
    return {w.name: w for w in batches.timed(spec, batches.ON_PROCESSOR)}


def texts(workload):
    return Counter(
        tuple(ids[mask == 1].tolist()) for batch in workload.batches for ids, mask in zip(*batch, strict=True)
    )


def test_the_shapes(loads):
    assert {name: [b.input_ids.shape for b in w.batches] for name, w in loads.items() if name != batches.SORTED} == {
        "1x16": [(1, 16)],
        "1x128": [(1, 128)],
        "1x512": [(1, 512)],
        "32x128": [(32, 128)],
        "32x128 ragged": [(32, 128)],
    }
    assert set(loads) == set(batches.ON_PROCESSOR)
    sizes = [w.tokens for w in loads.values()]
    assert sizes == sorted(sizes), "memory is allocated for the largest last"


def test_about_half_of_the_ragged_batch_is_real_and_all_of_the_full_one(loads):
    ragged, full = loads[batches.RAGGED], loads[batches.FULL]
    assert 0.45 < ragged.real_tokens / ragged.tokens < 0.55
    assert full.real_tokens == full.tokens


def test_the_sorted_batches_hold_the_texts_of_the_ragged_one(loads):
    ragged, in_order = loads[batches.RAGGED], loads[batches.SORTED]
    assert texts(ragged) == texts(in_order)
    assert in_order.batch == 32


def test_sorted_batches_grow_in_length_and_hold_little_padding(loads):
    parts = loads[batches.SORTED].batches
    assert [len(batch.input_ids) for batch in parts] == [batches.SORTED_ROWS] * 8
    lengths = np.concatenate([batch.attention_mask.sum(axis=1) for batch in parts])
    assert (np.diff(lengths) >= 0).all()
    assert all(batch.attention_mask.any(axis=0).all() for batch in parts), "each is as wide as its longest text"
    assert loads[batches.SORTED].real_tokens / loads[batches.SORTED].tokens > 0.9


def test_the_largest_batch_is_full(spec):
    largest = batches.timed(spec, [batches.LARGEST])[0]
    assert (largest.name, largest.batch, largest.seq_len, largest.real_tokens) == ("32x512", 32, 512, 32 * 512)


def test_a_compiler_is_warmed_up_on_every_shape(loads):
    shapes = batches.shapes(tuple(loads.values()))
    assert {tuple(shape) for shape in shapes} == {b.input_ids.shape for w in loads.values() for b in w.batches}
    assert len(shapes) == len({tuple(shape) for shape in shapes})


def test_a_gpu_gets_larger_batches_too(spec):
    made = {w.name: w for w in batches.timed(spec, batches.ON_GPU)}
    assert {name: (w.batch, w.seq_len) for name, w in made.items()} == {
        "1x128": (1, 128), "32x128": (32, 128), "32x128 ragged": (32, 128),
        "256x128": (256, 128), "256x128 ragged": (256, 128),
    }  # fmt: skip
    assert set(made) == set(batches.ON_GPU)
    for name, workload in made.items():
        assert 0.4 < workload.real_tokens / workload.tokens < 0.65 if "ragged" in name else workload.real_tokens


def test_real_tokens_are_ordinary_and_padding_is_padding(spec):
    ordinary = ordinary_ids(spec.text, spec.vocab_size, spec.tokenizer_json)
    for workload in batches.timed(spec, {*batches.ON_GPU, *batches.ON_PROCESSOR}):
        for ids, mask in workload.batches:
            assert np.isin(ids[mask == 1], ordinary).all()
            assert (ids[mask == 0] == spec.text.pad_token_id).all()
