"""The checkpoint of an artifact, found again; another one is not taken for it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from exporter.model.of_artifact import Baseline, find_baseline
from exporter.spec.origin import NO_TRUST
from graphs.pooling.head import Normalize, Truncate
from graphs.pooling.strategy import parse_strategy
from poolfold.errors import CheckpointError, InputError
from poolfold.manifest import Manifest, read_manifest
from tests.models import edit_json, tiny_checkpoint


def find(manifest: Manifest, model: str | None = None) -> Baseline:
    return find_baseline(manifest, model, NO_TRUST)


def changed(manifest: Manifest, **fields: Any) -> Manifest:
    return msgspec.structs.replace(manifest, model=msgspec.structs.replace(manifest.model, **fields))


@pytest.fixture
def manifest(artifact: Path) -> Manifest:
    return read_manifest(artifact)


def test_the_manifest_says_nothing_of_where_it_lay(manifest: Manifest, checkpoint: Path) -> None:
    assert manifest.model.source == checkpoint.name
    assert str(checkpoint.parent) not in (checkpoint.parent / "artifact" / "manifest.json").read_text()
    with pytest.raises(
        InputError, match=r"needed for comparison: tiny, which is no hub id\. Say where it is with --model"
    ):
        find(manifest)
    found = find(manifest, str(checkpoint))
    assert found.strategies == (parse_strategy("mean"), parse_strategy("cls"))
    assert found.head == found.spec.head


def test_a_copy_elsewhere_is_the_same_model_and_one_with_other_weights_is_not(
    manifest: Manifest, checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copytree(checkpoint, tmp_path / "moved")
    (tmp_path / "moved" / "README.md").write_text("a card")
    assert find(manifest, str(tmp_path / "moved")).spec.source.folder == tmp_path / "moved"
    assert find(changed(manifest, source=str(tmp_path / "moved"))).spec.source.folder == tmp_path / "moved"  # of 0.2.0
    gone = changed(manifest, source=str(tmp_path / "gone"))
    with pytest.raises(CheckpointError, match=r"needed for comparison\..*gone.*Say where it is now with --model"):
        find(gone)
    tiny_checkpoint(tmp_path / "moved", pooling="mean", prompts={"query": "search for: ", "document": ""}, seed=1)
    with pytest.raises(CheckpointError, match=r"is not the model .*: its files have the SHA-256 [0-9a-f]{64}, and"):
        find(manifest, str(tmp_path / "moved"))


def test_a_folder_has_no_revision(manifest: Manifest, checkpoint: Path) -> None:
    of_hub = changed(manifest, source="our/model", revision="0" * 40)
    assert find(of_hub, str(checkpoint)).spec.source.revision is None


def test_the_dimensions_of_the_artifact_are_cut_again(manifest: Manifest, checkpoint: Path) -> None:
    modules = (*manifest.model.modules, "truncate")
    assert find(changed(manifest, dimensions=8, modules=modules), str(checkpoint)).head[-1] == Truncate(8)
    again = changed(manifest, dimensions=8, renormalized=True, modules=(*modules, "normalize"))
    assert find(again, str(checkpoint)).head[-2:] == (Truncate(8), Normalize())


@pytest.mark.parametrize(
    ("file", "change", "field"),
    [
        ("config.json", {"num_hidden_layers": 1}, "num_layers"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "text"),
        ("config_sentence_transformers.json", {"prompts": {"query": "other: "}}, "text"),
    ],
)
def test_another_model_is_refused_with_what_differs(
    file: str, change: dict[str, Any], field: str, manifest: Manifest, checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copytree(checkpoint, tmp_path / "other")
    find(manifest, str(tmp_path / "other"))  # the control: an untouched copy is the same model
    edit_json(tmp_path / "other" / file, **change)
    with pytest.raises(CheckpointError, match=rf"is not the model .*: its {field} is "):
        find(manifest, str(tmp_path / "other"))
