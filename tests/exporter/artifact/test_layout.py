"""The artifact's own shape: names of files, lengths of vectors, and a manifest that describes what lies there."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from exporter.artifact import layout
from exporter.artifact.draft import Draft, bare
from exporter.spec import description
from exporter.spec.model import DType, ModelSpec
from graphs.pooling.head import Truncate
from graphs.pooling.strategy import parse_strategy
from poolfold.errors import ArtifactError
from poolfold.verify import verify
from tests.architectures import HIDDEN
from tests.exporter.model.reading import spec_of

MEAN, BOTH = parse_strategy("mean"), parse_strategy("cls+mean")


@pytest.fixture(scope="module")
def spec(checkpoint: Path) -> ModelSpec:
    return spec_of(checkpoint)


def test_paths() -> None:
    assert layout.graph_path(BOTH, DType.FP16) == "onnx/cls+mean_fp16.onnx"
    assert layout.weights_path(DType.FP32) == "onnx/weights_fp32.bin"
    assert layout.engine_path("tensorrt-rtx", MEAN, DType.FP16) == "engines/tensorrt-rtx/mean_fp16.engine"


def test_the_length_of_a_vector(spec: ModelSpec, dense_checkpoint: Path) -> None:
    dense = spec_of(dense_checkpoint)
    assert description.embedding_dim(spec, MEAN, spec.head) == HIDDEN
    assert description.embedding_dim(spec, BOTH, spec.head) == 2 * HIDDEN
    assert description.embedding_dim(dense, MEAN, dense.head) == 24
    assert description.embedding_dim(dense, MEAN, (*dense.head, Truncate(8))) == 8
    assert description.embedding_dim(spec, MEAN, (Truncate(1000),)) == HIDDEN


def test_what_the_manifest_says_of_a_model_and_its_strategies(spec: ModelSpec) -> None:
    head = (*spec.head, Truncate(8))
    model = description.describe_model(spec, head, None)
    assert model.modules == ("transformer", "pooling", "normalize", "truncate")
    assert (model.dimensions, model.trained_strategy, model.revision) == (8, "mean", None)
    assert description.describe_model(replace(spec, trained=None), spec.head, None).trained_strategy is None
    assert [(s.name, s.trained, s.dim) for s in description.describe_strategies(spec, (BOTH, MEAN), head)] == [
        ("cls+mean", False, 8),
        ("mean", True, 8),
    ]


def test_a_manifest_describes_every_file(spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["/home/me/bin/poolfold", "export", "/home/me/a b/", "-o", "../out", "--texts=C:\\me\\t.txt"]
    )
    layout.write_model_files(tmp_path, spec)
    layout.write_report(tmp_path, "ranges", {"a": 1.5})
    (tmp_path / "README.md").write_text("a model card, which people edit")
    draft, first = Draft(tmp_path, description.describe_model(spec, spec.head, None), ()).seal()
    assert [f.path for f in first.files] == [
        "config.json", "reports/ranges.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert json.loads((tmp_path / "reports" / "ranges.json").read_text()) == {"a": 1.5}
    assert first.command == ("poolfold", "export", "a b", "-o", "out", "--texts=t.txt")
    # Written anew it describes itself no more than before.
    _, again = draft.seal()
    assert verify(tmp_path).files == again.files == first.files


def test_a_known_hash_is_taken_on_trust_and_verified_later(spec: ModelSpec, tmp_path: Path) -> None:
    layout.write_model_files(tmp_path, spec)
    draft, _ = Draft(tmp_path, description.describe_model(spec, spec.head, None), ()).seal()
    (tmp_path / "config.json").write_text("{}")
    draft.seal()
    with pytest.raises(ArtifactError, match=r"config\.json"):
        verify(tmp_path)


def test_a_hub_id_stays_in_the_command() -> None:
    assert bare("owner/name", keep="owner/name") == "owner/name"
    assert bare("owner/name", keep="other/name") == "name"
    assert bare("--max=1,2", keep="x") == "--max=1,2"
