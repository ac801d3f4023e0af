"""`--max-seq-length`: the artifact takes fewer tokens than the model, in everything that it says and does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import poolfold
from exporter.commands.cli import run_command
from poolfold.errors import InputError

LIMIT, LOWER = 64, 20
LONG = "the red tide took the lamp and the rope from the stone boat " * 5

pytestmark = pytest.mark.usefixtures("in_this_process")


def export(model: Path, output: Path, limit: int, *more: str) -> int:
    return run_command(
        ["export", str(model), "-o", str(output), "--max-seq-length", str(limit), "--skip-latency", *more]
    )


def test_the_lower_limit_is_obeyed_and_recorded(
    checkpoint: Path, artifact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lower = tmp_path / "lower"
    assert export(checkpoint, lower, LOWER, "--dtype", "fp16", "--target", "tensorrt-rtx") == 0
    with poolfold.load(artifact, strategy="mean", dtype="fp16") as whole, poolfold.load(lower) as cut:
        assert (whole.max_seq_length, cut.max_seq_length) == (LIMIT, LOWER)
        (ids,) = cut.tokenizer.ids([LONG])
        (all_ids,) = whole.tokenizer.ids([LONG])
        assert (len(ids), len(all_ids)) == (LOWER, LIMIT)
        expected = whole.embed([ids], [[1] * LOWER])
        np.testing.assert_allclose(cut.encode([LONG]), expected, atol=1e-6)
        assert abs(whole.encode([LONG]) - expected).max() > 1e-3  # the texts do differ behind the cut
        with pytest.raises(InputError, match=f"expected 1 to {LOWER}"):
            cut.embed([all_ids], [[1] * LIMIT])
    manifest = json.loads((lower / "manifest.json").read_text())
    assert {engine["profiles"][0]["seq_len"]["max"] for engine in manifest["engines"]} == {LOWER}
    assert json.loads((lower / "tokenizer_config.json").read_text())["model_max_length"] == LOWER
    assert run_command(["validate", str(lower), "--model", str(checkpoint)]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    ("limit", "message"),
    [(LIMIT + 1, "more than the 64 tokens"), (1, "special tokens"), (2, "leaves none for the text")],
)
def test_a_limit_that_cannot_be(
    limit: int, message: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(checkpoint, tmp_path / "out", limit) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
