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
TINY = Embedder(SIZES | HEADS, "lasttoken", "bfloat16", None, left=True, prompts={"query": PROMPT, "document": ""})


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.usefixtures("few_rounds")
def test_a_model_is_made_exported_timed_weighed_and_tabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench, "EMBEDDERS", {"tiny": TINY})
    given = argparse.Namespace(build=tmp_path, threads=1, seconds=1.0)
    found = bench._measure("tiny", given)
    assert found["limit"] == 512 and found["validated_up_to"] is not None
    names = {"PyTorch float32", "PyTorch bfloat16", *(f"poolfold {target} {dtype}" for target, dtype in bench.OURS)}
    assert set(found["times"]) == set(found["memory"]) == names
    assert all(set(of) == {"1x16", "1x128", "1x512", bench.RAGGED} for of in found["times"].values())
    assert found["instruction"]["tokens"] == len(PROMPT) == 25
    tables = bench.tables({"tiny": found})
    assert tables.count("| tiny |") == 1 + 5 + 3 and "1x8" in tables
    embed = load.folded(str(tmp_path / "tiny/artifact"), "lasttoken", "fp32", "onnxruntime", 1)
    with pytest.raises(ValueError, match="rows begin with"):
        embed(np.full((1, 30), 5), np.ones((1, 30), np.int64))
    # The peer computes the same vectors as the artifact: the Dense layers that it leaves out are not in this model.
    ids = np.arange(30, 60)[None]
    peer = load.pytorch(str(tmp_path / "tiny/checkpoint"), "lasttoken", "float32", 1)(ids, np.ones_like(ids))
    with poolfold.load(tmp_path / "tiny/artifact") as encoder:
        np.testing.assert_allclose(encoder.embed(ids, np.ones_like(ids)), peer, atol=1e-5)
