"""A row that begins with a folded prompt gets the same vector in C++, in Python, and from the whole run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import poolfold
from tests.conftest import export_here
from tests.cpp.conftest import Driver
from tests.models import tiny_checkpoint

PROMPTS = {"query": "represent this text: ", "longer": "represent this text: of ", "document": ""}
TEXTS = ["one", "two words", ": merges", "x " * 500, "a longer text, with punctuation"]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folded")
    tiny_checkpoint(folder / "model", architecture="qwen3", pooling="lasttoken", prompts=PROMPTS)
    manifest = export_here(folder / "model", folder / "out")
    assert len(manifest.folded_prompts) == 2
    return folder / "out"


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_rows_behind_a_prompt(driver: Driver, artifact: Path, batch_size: int):
    assert "error" not in driver.ask("load", directory=str(artifact))
    encoder = poolfold.load(artifact)
    ids = [row for prompt in PROMPTS.values() for row in encoder.tokenizer.ids(TEXTS, prompt)]
    whole = replace(encoder, folded={})
    expected = np.concatenate([whole.encode(TEXTS, prompt_name=name) for name in PROMPTS])
    answer = driver.ask("rows", ids=ids, batch_size=batch_size)
    got = np.array(answer["vectors"], dtype=np.float32)
    assert np.abs(got - expected).max() <= 2e-6
    folded = np.concatenate([encoder.encode(TEXTS, prompt_name=name) for name in PROMPTS])
    assert np.abs(got - folded).max() <= 2e-6
    # A batch that comes with its mask takes the whole run, padded as the caller padded it.
    batch = driver.ask("batch", ids=[ids[0]], mask=[[1] * len(ids[0])])
    assert np.abs(np.array(batch["vectors"][0]) - expected[0]).max() <= 2e-6


def test_the_states_are_used(driver: Driver, artifact: Path, tmp_path: Path):
    """The negative control: other states give another vector, where nobody checks them."""
    copy = tmp_path / "copy"
    for path in artifact.rglob("*"):
        if path.is_file():
            (copy / path.relative_to(artifact)).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(artifact)).write_bytes(path.read_bytes())
    states = copy / "prompts/0.bin"
    content = np.frombuffer(states.read_bytes(), np.float32)
    states.write_bytes(content[::-1].tobytes())
    answer = driver.ask("load", directory=str(copy))
    assert answer["error"] == "ArtifactError" and "prompts/0.bin" in answer["message"]
    with poolfold.load(artifact) as encoder:
        ids = encoder.tokenizer.ids(["one"], PROMPTS["query"])
        expected = encoder.encode(["one"], prompt_name="query")
    driver.ask("load", directory=str(copy), verify=False)
    got = np.array(driver.ask("rows", ids=ids, batch_size=1)["vectors"], dtype=np.float32)
    assert np.abs(got - expected).max() > 1e-3
    states.write_bytes(content[:-1].tobytes())
    answer = driver.ask("load", directory=str(copy), verify=False)
    assert answer["error"] == "ArtifactError" and "Export the model again" in answer["message"]
    with pytest.raises(poolfold.ArtifactError) as raised:
        poolfold.load(copy, verify=False)
    assert str(raised.value) == answer["message"]
