import argparse
from pathlib import Path

import numpy as np
import pytest

import poolfold
from bench.embedders import __main__ as bench
from bench.embedders import load
from bench.embedders.checkpoints import PROMPT, Embedder

SIZES = {"model_type": "qwen3", "vocab_size": 300, "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 1024}
TINY = Embedder(
    SIZES | HEADS,
    "lasttoken",
    "bfloat16",
    None,
    left=True,
    prompts={"query": PROMPT, "document": ""},
    as_published=True,
)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.usefixtures("few_rounds")
def test_a_model_is_made_exported_timed_weighed_and_tabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench, "EMBEDDERS", {"tiny": TINY})
    given = argparse.Namespace(build=tmp_path, threads=1, seconds=1.0, peer_venv=None)
    found = bench._measure("tiny", given)
    assert found["limit"] == 512 == found["export"]["validated_up_to"]
    assert found["as_published"]["validated_up_to"] > 512 and "--max-seq-length" not in found["as_published"]["command"]
    here = bench.targets_here()
    ours, baselines = (
        (f"poolfold {target} {dtype}" for target, dtype in here),
        {f"PyTorch {dtype}" for _, dtype in here},
    )
    names = {*baselines, *ours}
    assert set(found["times"]) == set(found["memory"]) == names
    assert all(set(of) == {"1x16", "1x128", "1x512", bench.RAGGED} for of in found["times"].values())
    assert found["instruction"]["tokens"] == len(PROMPT) == 25
    tables = bench.tables({"tiny": found})
    assert tables.count("| tiny |") == 2 + len(names) + 2 * len(here) and "1x8" in tables
    for held in found["held"].values():
        assert held["load_s"] > 0 and held["private_after"] >= held["private"] > 0
    embed = load.folded(str(tmp_path / "tiny/artifact"), "lasttoken", "fp32", "onnxruntime", 1)
    with pytest.raises(ValueError, match="rows begin with"):
        embed(np.full((1, 30), 5), np.ones((1, 30), np.int64))
    # The peer computes the same vectors as the artifact: the Dense layers that it leaves out are not in this model.
    ids = np.arange(30, 60)[None]
    peer = load.pytorch(str(tmp_path / "tiny/checkpoint"), "lasttoken", "float32", 1)(ids, np.ones_like(ids))
    with poolfold.load(tmp_path / "tiny/artifact") as encoder:
        np.testing.assert_allclose(encoder.embed(ids, np.ones_like(ids)), peer, atol=1e-5)
