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
from poolfold.errors import CheckpointError
from poolfold.manifest import Manifest, read_manifest
from tests.models import edit_json


def find(manifest: Manifest, model: str | None = None) -> Baseline:
    return find_baseline(manifest, model, NO_TRUST)


def changed(manifest: Manifest, **fields: Any) -> Manifest:
    return msgspec.structs.replace(manifest, model=msgspec.structs.replace(manifest.model, **fields))


@pytest.fixture
def manifest(artifact: Path) -> Manifest:
    return read_manifest(artifact)


def test_it_is_where_the_manifest_says(manifest: Manifest, checkpoint: Path) -> None:
    found = find(manifest)
    assert found.spec.source.folder == checkpoint.resolve()
    assert found.strategies == (parse_strategy("mean"), parse_strategy("cls"))
    assert found.head == found.spec.head


def test_a_moved_one_is_where_the_user_says(manifest: Manifest, checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "moved")
    gone = changed(manifest, source=str(tmp_path / "gone"))
    with pytest.raises(CheckpointError, match=r"needed for comparison\..*gone.*Say where it is now with --model"):
        find(gone)
    assert find(gone, str(tmp_path / "moved")).spec.source.folder == tmp_path / "moved"


def test_a_folder_has_no_revision(manifest: Manifest, checkpoint: Path) -> None:
    of_hub = changed(manifest, source="our/model", revision="0" * 40)
    assert find(of_hub, str(checkpoint)).spec.source.revision is None
    assert find(changed(manifest, revision="0" * 40)).spec.source.revision is None


def test_the_dimensions_of_the_artifact_are_cut_again(manifest: Manifest) -> None:
    modules = (*manifest.model.modules, "truncate")
    assert find(changed(manifest, dimensions=8, modules=modules)).head[-1] == Truncate(8)
    again = changed(manifest, dimensions=8, renormalized=True, modules=(*modules, "normalize"))
    assert find(again).head[-2:] == (Truncate(8), Normalize())


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
