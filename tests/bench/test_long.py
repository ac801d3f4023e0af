import json
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from bench.embedders.checkpoints import Embedder, _write_tokenizer
from bench.long import __main__ as bench
from bench.long import parts, texts
from bench.long.once import FAILURES, once
from bench.long.tables import slope, tables
from exporter.measure.systems import System
from exporter.measure.workloads import Batch

ROW = Batch(np.ones((1, 4), np.int64), np.ones((1, 4), np.int64))
GIB = 1 << 30
LONG = Embedder(
    {"model_type": "modernbert", "vocab_size": 300, "hidden_size": 32, "intermediate_size": 32, "pad_token_id": 1}
    | {"num_hidden_layers": 3, "num_attention_heads": 2, "max_position_embeddings": 1024, "local_attention": 32}
    | {"bos_token_id": 0, "cls_token_id": 0, "eos_token_id": 0, "sep_token_id": 0},
    pooling="cls",
    limit=1024,
)


def greedy(size, threads):
    """A system whose call touches so many bytes."""
    return lambda ids, mask: np.ones(size // 4, np.float32)[: len(ids), None]


def system(size):
    return System("greedy", "mean", "fp32", "numpy", "tests.bench.test_long:greedy", {"size": size}, "greedy")


def test_texts_have_the_tokens_that_they_were_made_for(tmp_path):
    _write_tokenizer(tmp_path, left=False, pad_id=1)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    made = texts.documents(40, 3, 2000)
    lengths = [len(row.ids) for row in tokenizer.encode_batch(made)]
    assert lengths == [len(text) + 1 for text in made] and max(lengths) == 2000 and lengths.count(2000) == 3
    assert 250 < np.median(lengths) < 600 and min(lengths) >= 8
    assert all(text == text.strip() for text in made) and len(set(made)) == 40
    assert made == texts.documents(40, 3, 2000)
    assert {len(text) + 1 for text in texts.short_texts(2000)} == set(range(10, 61))


def test_growth_is_the_power_of_the_length():
    def at(n, call_bytes):
        return {"ms": {"median": 3.0 * n**1.5}, "call_bytes": call_bytes}

    lengths = {f"1x{n}": at(n, 7 * n**2) for n in (8192, 512, 2048)}
    assert slope(lengths, lambda found: found["ms"]["median"]) == pytest.approx(1.5)
    assert slope(lengths, lambda found: found["call_bytes"]) == pytest.approx(2.0)
    assert slope({**lengths, "1x4096": at(4096, None)}, lambda found: found["call_bytes"]) is None
    assert slope({"1x512": at(512, 1)}, lambda found: found["call_bytes"]) is None


def test_a_call_is_weighed_in_a_fresh_process_and_held_to_a_limit():
    found = once(system(GIB // 2), ROW, 1)
    assert found.vectors.shape == (1, 1)
    assert GIB // 2 <= found.numbers()["call_bytes"] < GIB // 2 + (64 << 20)
    assert once(system(GIB // 2), ROW, 1, limit_bytes=2 * GIB).vectors.shape == (1, 1)
    with pytest.raises(FAILURES, match="allocate"):
        once(system(2 * GIB), ROW, 1, limit_bytes=2 * GIB)
    with pytest.raises(FAILURES, match="no answer within 0 s"):
        once(system(4), ROW, 1, limit_s=0.01)


def test_a_wrong_vector_of_ours_is_named():
    def rows(system, cosine, part="rows"):
        return {part: {"m": {"systems": {system: {"dtype": "fp32", "lengths": {"1x512": {"cosine": cosine}}}}}}}

    assert not list(bench.wrong_vectors(rows("poolfold onnxruntime fp32", 1 - 1e-7)))
    assert not list(bench.wrong_vectors(rows("PyTorch bf16", 0.9)))
    assert "1x512" in next(bench.wrong_vectors(rows("poolfold onnxruntime fp32", 1 - 1e-5)))
    assert "1x512" in next(bench.wrong_vectors(rows("poolfold openvino fp32", 0.9, "further")))
    entry = {"system": parts.OURS_OF_TEXTS, "cosine": 0.9}
    assert "corpus" in next(bench.wrong_vectors({"corpus": {"systems": [entry]}}))
    assert not list(bench.wrong_vectors({"corpus": {"systems": [{"system": parts.OURS_OF_TEXTS, "told": "no"}]}}))


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.usefixtures("few_rounds")
def test_all_parts_are_measured_kept_and_tabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    results, page = tmp_path / "long.json", tmp_path / "page.md"
    page.write_text(f"{bench.BEGIN}\n{bench.END}\n")
    for name, value in {
        "RESULTS": results,
        "_PAGE": page,
        "MODELS": {bench.CORPUS: LONG},
        "LENGTHS": (64, 600),
        "FURTHER": 700,
        "MANY": (100,),
        "_VALIDATED": 520,
        "targets_here": lambda: (("onnxruntime", "fp32"),),
    }.items():
        monkeypatch.setattr(bench, name, value)
    monkeypatch.setattr(parts, "targets_here", lambda: (("onnxruntime", "fp32"),))
    arguments = ["--build", str(tmp_path / "build"), "--seconds", "1", "--threads", "1", "--peer-minutes", "0.0001"]
    arguments += ["--documents", "8"]
    assert bench.main(arguments) == 0
    kept = json.loads(results.read_text())
    assert kept["exports"][bench.CORPUS]["validated_up_to"] == 520
    (of_model,) = kept["rows"].values()
    for of in of_model["systems"].values():
        assert set(of["lengths"]) == {"1x64", "1x600"}
        assert all(at["cosine"] > 1 - 1e-6 and at["call_bytes"] >= 0 for at in of["lengths"].values())
    assert kept["further"][bench.CORPUS]["systems"].keys() == of_model["systems"].keys()
    for of in kept["further"][bench.CORPUS]["systems"].values():
        assert set(of["lengths"]) == {"1x700"}
        assert all(at["told"] == "" and at["cosine"] > 1 - 1e-6 for at in of["lengths"].values())
    assert {"1x16", "1x128", "1x512"} == {*kept["short"][bench.CORPUS]["systems"]["in slices"]}
    assert kept["limit"][bench.CORPUS]["told"] == "" and kept["limit"][bench.CORPUS]["tokens"] == 600
    by_one, mine, peer, peer_by_one = kept["corpus"]["systems"]
    assert (by_one["batch_size"], mine["batch_size"]) == (1, 32) and mine["cosine"] > 1 - 1e-6
    assert "gave no answer" in peer["told"] and peer_by_one["batch_size"] == 1 and peer_by_one["cosine"] > 1 - 1e-6
    few, all_of_them, _, few_of_the_peer = kept["full"]["systems"]
    assert [of["texts"] for of in (few, all_of_them, few_of_the_peer)] == [8, 32, 8]
    assert all(of["cosine"] > 1 - 1e-6 for of in (all_of_them, few_of_the_peer))
    assert [of["texts"] for of in kept["many"]["systems"]] == [100, 100]
    shown = page.read_text()
    assert tables(kept) in shown and shown.count(f"| {bench.CORPUS} |") == 1 + 2 + 2 + 2 + 2 + 1
    assert (tmp_path / f"{bench.CORPUS}-seconds.png").is_file()
    # A part alone is measured on what was exported before, and leaves the other parts as they were.
    manifest = tmp_path / "build" / bench.CORPUS / "artifact" / "manifest.json"
    made = manifest.read_bytes()
    monkeypatch.setattr(bench, "LENGTHS", (70,))
    assert bench.main([*arguments, "--part", "limit", "--kept"]) == 0
    again = json.loads(results.read_text())
    assert manifest.read_bytes() == made and again["limit"][bench.CORPUS]["tokens"] == 70
    assert {part: again[part] for part in again if part != "limit"} == {p: kept[p] for p in kept if p != "limit"}
