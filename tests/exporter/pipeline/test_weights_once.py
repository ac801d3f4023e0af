"""A checkpoint in bf16: its artifact is as large as it is, and one form of the graph serves every batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import poolfold
from exporter.commands.artifact_table import graph_status
from exporter.measure import one_form
from exporter.measure.one_form import Finding
from exporter.pipeline import make_artifact, measurements
from poolfold.load import open_encoder
from poolfold.manifest import Manifest, read_manifest
from poolfold.sessions.by_padding import ByPadding
from tests import models
from tests.conftest import TARGETS, export_here
from tests.models import edit_json, tiny_checkpoint

pytestmark = pytest.mark.e2e

WIDTH = 384
CONFIG = {"hidden_size": WIDTH, "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 64} | {
    "intermediate_size": 1024,
    "initializer_range": 0.05,
}


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def bf16_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bf16") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "HIDDEN", WIDTH)
        tiny_checkpoint(folder, architecture="qwen3", pooling="lasttoken", config=CONFIG)
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    edit_json(folder / "config.json", dtype="bfloat16")
    return folder


@pytest.fixture(scope="module")
def exported(bf16_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """Exported for both CPU targets, on which a measurement finds one form enough; nothing is timed."""

    def finds(_directory: Path, _manifest: Manifest, graphs: tuple, shares: dict, **_: object) -> tuple[Finding, ...]:
        return tuple(Finding(g.path, target, "", {"1x16": 1.0}) for g in graphs for target in shares)

    output = tmp_path_factory.mktemp("artifact") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_form, "LEAST_BYTES", 1)
        patch.setattr(make_artifact, "compare_forms", finds)
        patch.setattr(measurements, "measure_latency", lambda draft, *_: draft)
        patch.setattr(measurements, "measure_benefit", lambda *_, **__: pytest.fail("padding was measured"))
        manifest = export_here(bf16_checkpoint, output, targets=TARGETS, skip_latency=False)
    return output, manifest


def test_the_artifact_is_as_large_as_the_checkpoint(bf16_checkpoint: Path, exported: tuple[Path, Manifest]) -> None:
    assert size(exported[0]) <= 1.05 * size(bf16_checkpoint)


def test_only_that_form_is_compiled_and_checked_and_the_other_says_so(exported: tuple[Path, Manifest]) -> None:
    (graph,) = exported[1].graphs
    assert graph.padding_free is not None
    assert graph.padding_free.serves_all == TARGETS
    assert (graph.status, graph.padding_free.status, graph_status(graph)) == ("built", "validated", "validated")
    assert {(row.ran_on.target, row.ran_on.form, row.passed) for row in exported[1].parity} == {
        (target, "padding-free", True) for target in TARGETS
    }
    assert [(e.form, e.path, e.status) for e in exported[1].engines] == [
        ("padding-free", graph.padding_free.path, "validated")
    ]
    assert exported[1].latency_left_out == {}


def test_it_runs_full_and_padded_batches_as_the_plain_form_does(exported: tuple[Path, Manifest]) -> None:
    directory, manifest = exported
    assert read_manifest(directory) == manifest
    rng = np.random.default_rng(0)
    ids, full = rng.integers(5, 100, (4, 24)), np.ones((4, 24), np.int64)
    padded = (np.arange(24)[::-1] < np.array([[24], [9], [3], [1]])).astype(np.int64)
    with open_encoder(directory, manifest, threads=1, form="plain") as plain:
        for target in TARGETS:
            with poolfold.load(directory, target=target, threads=1) as encoder:
                assert not isinstance(encoder.session, ByPadding)
                for mask in (full, padded):
                    np.testing.assert_allclose(encoder.embed(ids, mask), plain.embed(ids, mask), atol=2e-6)
