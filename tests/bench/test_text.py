"""Texts to vectors: all systems do the same work, what does not is refused, and README shows what is kept."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import poolfold
from bench import load_texts, text
from exporter.measure.systems import System
from poolfold.errors import CheckFailed

ROOT = Path(__file__).parents[2]
TEXTS = ["query text", "the query the text the", "the"]


def found(**more):
    system = {
        "system": "poolfold",
        "texts_per_s": {"q1": 140.2, "median": 142.4, "q3": 150.0},
        "one_text": {
            "latency_ms": {"q1": 4.4, "median": 4.5, "q3": 4.6},
            "speedup": {"q1": 1.1, "median": 1.2, "q3": 1.3},
            "disturbed": True,
        },
        "increase_bytes": 9 << 20,
    }
    return {
        "model": "a model", "threads": 2, "rounds": 3, "texts": {"number": 4, "tokens": 160},
        "environment": {"cpu": "a processor", "instructions": "avx2", "versions": {"poolfold": "0.1.0"}},
        "systems": [{**system, "speedup": {"q1": 1.9, "median": 2.0, "q3": 2.1}, "disturbed": False, **more}],
    }  # fmt: skip


def test_readme_holds_the_table_of_what_is_kept():
    kept = json.loads((ROOT / text.RESULTS).read_text()) if (ROOT / text.RESULTS).exists() else None
    block = f"{text.BEGIN}\n{text.readme_tables(kept)}\n{text.END}" if kept else f"{text.BEGIN}\n{text.END}"
    assert block in (ROOT / "README.md").read_text()


def test_a_row_tells_rate_ratio_and_memory():
    table = text.readme_tables({"avx2": found()})
    assert "| poolfold | 142 [140, 150] | 2.00x | 4.5 [4.4, 4.6] | 1.20x? | 9 |" in table
    assert "4 paragraphs of 40 tokens on average, a model, 3 rounds, 2 threads, a processor (avx2), poolfold" in table
    both = text.readme_tables({"avx2": found(increase_bytes=None), "avx2 avx512f": found()})
    assert both.index("| 1.20x? | 9 |") < both.index("| 1.20x? | unknown |"), "the more capable processor comes first"


def systems(artifact, checkpoint, strategy="mean"):
    ours = {"directory": str(artifact), "strategy": strategy, "target": "onnxruntime", "dtype": "fp32"}
    theirs = {"folder": str(checkpoint), "strategy": "mean"}
    return [
        System(
            name, "mean", "fp32", "any", f"bench.load_texts:{load}", {**own, "texts": TEXTS, "batch_size": 2}, "theirs"
        )
        for name, load, own in (
            ("theirs", "load_sentence_transformers", theirs),
            ("ours", "load_ours", ours),
        )
    ]


def test_systems_that_do_the_same_work_are_timed(artifact, checkpoint):
    measured = systems(artifact, checkpoint)
    cosines = text.smallest_cosines(measured, 1)
    assert min(cosines.values()) >= 1 - 1e-6
    report = text.timed(measured, len(TEXTS), 1, 0.0)
    rows = text.kept(measured, cosines, report)
    assert [row["system"] for row in rows] == ["theirs", "ours"]
    for row in rows:
        assert len(row["windows_ms"]) == report.workloads[-1].rounds >= 3
        assert row["one_text"]["latency_ms"]["median"] > 0
        # Windows are kept to hundredths of a millisecond, and a tiny model's last a fraction of one.
        assert row["texts_per_s"]["median"] == pytest.approx(3e3 / np.median(row["windows_ms"]), rel=5e-2)


def test_other_work_is_refused_before_anything_is_timed(artifact, checkpoint):
    with pytest.raises(CheckFailed, match=r"ours: a vector has cosine .* the two do not do the same work"):
        text.smallest_cosines(systems(artifact, checkpoint, "cls"), 1)


def test_another_interpreter_runs_its_system_with_its_own_libraries(artifact, checkpoint):
    first, ours = systems(artifact, checkpoint)
    with pytest.raises(Exception, match="no-such-python"):
        text.smallest_cosines([first, replace(ours, python="/no-such-python")], 1)


@pytest.mark.parametrize("strategy", ["cls", "mean"])
def test_both_encode_the_same_texts_to_the_same_vectors(strategy, artifact, checkpoint):
    threads = torch.get_num_threads()
    rows = np.ones((3, 4), np.int64)
    ours = load_texts.load_ours(str(artifact), strategy, "onnxruntime", "fp32", TEXTS, 3, threads)(rows, rows)
    theirs = load_texts.load_sentence_transformers(str(checkpoint), strategy, TEXTS, 3, threads)(rows, rows)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    with poolfold.load(artifact, strategy=strategy) as encoder:
        np.testing.assert_allclose(ours, encoder.encode(TEXTS), atol=1e-6)
    assert np.abs(ours[0] - ours[2]).max() > 1e-2, "the premise needs texts that differ"


def test_one_row_at_a_time_is_each_text_in_its_turn(artifact):
    embed = load_texts.load_ours(str(artifact), "mean", "onnxruntime", "fp32", TEXTS, 3, 1)
    all_rows, one = np.ones((3, 1), np.int64), np.ones((1, 1), np.int64)
    np.testing.assert_allclose(
        np.concatenate([embed(one, one) for _ in range(4)])[:3], embed(all_rows, all_rows), atol=1e-6
    )
