from pathlib import Path

import pytest

from bench import results as kept
from bench.batches import FULL, ON_PROCESSOR, RAGGED
from bench.document import document as written
from bench.document import product_gflops, useful_gflops
from bench.markdown import between
from bench.peers.__main__ import BEGIN, END, readme_table
from tests.bench.fabricated import even, model, results

ROOT = Path(__file__).parents[2]


def document(found):
    return written(found, ON_PROCESSOR)


def lines(text, start):
    return [line for line in text.splitlines() if line.startswith(start)]


def test_the_documents_are_what_the_kept_results_say():
    found = kept.read(ROOT / "bench" / "results" / "peers.json")
    assert f"{BEGIN}\n{readme_table(found)}\n{END}" in (ROOT / "README.md").read_text()
    assert (ROOT / "bench" / "results" / "peers.md").read_text() == document(found)


def test_results_come_back_from_their_file(tmp_path):
    made = results(model(even(1.0, 2.0), missing={"torch.compile": "no compiler"}))
    kept.write(made, tmp_path / "new" / "peers.json")
    assert kept.read(tmp_path / "new" / "peers.json") == made
    assert kept.read(tmp_path / "other.json") is None


def test_useful_rates_and_their_share_of_the_product():
    found = model(lambda label, *_: [20.0 if label == "matrix product" else 50.0] * 3)
    mean = found.timing("PyTorch eager, mean", FULL)
    assert useful_gflops(found, mean, "mean") == pytest.approx(2 / 0.050)
    assert useful_gflops(found, found.timing("PyTorch eager, cls", FULL), "cls") == pytest.approx(1 / 0.050)
    assert product_gflops(found, "fp32") == pytest.approx(4 / 0.020)
    assert product_gflops(found, "bf16") is None
    text = document(results(found))
    assert "| PyTorch eager | 40 (20%) |" in text
    assert "| optimum openvino bf16 | 40 |" in text, "no product of its precision, no share"
    assert "200 GFLOP/s in fp32." in text


def test_a_miss_is_told_with_its_size_and_both_sides():
    found = model(lambda label, s, w: [100.0, 101.0, 102.0] if label.startswith("poolfold") else [95.0, 96.0, 98.0])
    text = document(results(found))
    (miss,) = lines(text, f"- {FULL}, mean, onnxruntime fp32 and best fp32:")
    assert "0.950 where 0.98 is wanted, 3.0% short." in miss
    assert "poolfold onnxruntime fp32 takes 101 ms" in miss
    assert "PyTorch eager takes 96 ms at 20.8" in miss
    assert "Speed: 0 goals reached, 48 missed. Memory: 0 goals reached, 0 missed, 6 not measured." in text


def test_texts_to_vectors_are_a_table_of_their_own():
    text = document(results(model(even(1.0, 3.0))))
    assert "| poolfold onnxruntime fp32 | mean | 2 [1.5, 2.5] | 3.00 [2.50, 3.50] |" in text


def test_long_times_are_written_without_an_exponent():
    text = document(results(model(even(12345.6, 0.012345))))
    assert "| poolfold onnxruntime fp32 | 12346 [12346, 12346] |" in text
    assert "| PyTorch eager | 0.01235 [0.01235, 0.01235] |" in text


def test_a_miss_within_the_rounds_spread_says_so():
    found = model(lambda label, s, w: [100.0] * 3 if label.startswith("poolfold") else [96.0, 97.0, 100.0])
    text = document(results(found))
    assert all("within the spread of the rounds" in line for line in lines(text, f"- {FULL}, mean,"))
    assert not any("within the spread" in line for line in lines(text, f"- {RAGGED}, mean,"))


def test_nothing_is_listed_as_missed_where_all_is_reached():
    text = document(results(model(even(1.0, 3.0))))
    assert "Missed:" not in text
    assert "**missed**" not in text
    assert "Speed: 48 goals reached, 0 missed." in text


def test_what_is_missing_is_named_with_its_reason():
    text = document(results(model(even(1.0, 3.0), missing={"poolfold openvino bf16": "not exported"})))
    assert "Not measured:\n\n- poolfold openvino bf16: not exported" in text
    (row,) = lines(text, f"| {FULL} | cls | 1.12 |")
    assert row.count("reached") == 3
    assert row.count("not measured") == 1


def test_the_readme_has_our_best_against_the_fastest_peer_for_each_precision():
    ms = {"poolfold onnxruntime fp32": 50.0, "poolfold openvino fp32": 40.0, "poolfold openvino bf16": 10.0}
    peers = {"optimum openvino bf16": 15.0, "optimum onnxruntime fp32": 60.0}
    block = readme_table(results(model(lambda label, *_: [(ms | peers).get(label, 80.0)] * 3)))
    (row,) = lines(block, f"| a model | {FULL} |")
    assert row == f"| a model | {FULL} | 1.50x (40 ms) | 1.50x (40 ms) | 1.50x (10 ms) | 1.50x (10 ms) |"


def test_the_block_is_put_between_its_markers_and_nothing_else_changes(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    between(readme, BEGIN, END, "new")
    assert readme.read_text() == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


def test_a_readme_without_markers_is_refused(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("no markers\n")
    with pytest.raises(ValueError, match="has no"):
        between(readme, BEGIN, END, "new")
    assert readme.read_text() == "no markers\n"
