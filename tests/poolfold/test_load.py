import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import poolfold
from poolfold import ArtifactError, InputError, TargetUnavailable
from poolfold.load import open_encoder
from poolfold.manifest import Strategy
from poolfold.sessions.ort import OnnxRuntimeSession
from tests.artifacts import DIM, expected, leave_one_form, relist, rewrite_manifest, table, write_artifact
from tests.gpu_here import without_gpu
from tests.openvino_here import EACH_DTYPE

TEXTS = ["w1 w2", "w3", "w4 w5 w6"]


@pytest.mark.parametrize("strategy", ["cls", "mean"])
@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_the_graph_that_was_asked_for_is_loaded(tmp_path: Path, strategy: str, dtype: str):
    write_artifact(tmp_path / "DIR", strategies=("cls", "mean"), dtypes=("fp16", "fp32"))
    with poolfold.load(str(tmp_path / "DIR"), strategy, dtype=dtype, threads=1) as encoder:
        assert (encoder.strategy, encoder.dtype, encoder.target, encoder.dim) == (strategy, dtype, "onnxruntime", DIM)
        np.testing.assert_array_equal(encoder.encode(TEXTS), expected(TEXTS, strategy))


def test_each_dtype_has_its_own_precision(tmp_path: Path):
    values = table() / 3
    write_artifact(tmp_path / "DIR", dtypes=("fp32", "fp16"), values=values)
    for dtype, stored in (("fp32", values), ("fp16", values.astype(np.float16).astype(np.float32))):
        with poolfold.load(tmp_path / "DIR", dtype=dtype) as encoder:
            np.testing.assert_array_equal(encoder.embed([[6], [9]], [[1], [1]]), stored[[6, 9]])
    assert not np.array_equal(values[6], stored[6])


def test_a_form_that_serves_every_batch_is_the_only_one_that_is_opened(tmp_path: Path):
    """Full batches and padded ones run on it: the plain graph of this artifact is no graph."""
    manifest = leave_one_form(tmp_path / "DIR", write_artifact(tmp_path / "DIR"))
    for verify in (True, False):
        with poolfold.load(tmp_path / "DIR", verify=verify) as encoder:
            assert isinstance(encoder.session, OnnxRuntimeSession)
            np.testing.assert_array_equal(encoder.encode(TEXTS), expected(TEXTS, "mean"))
            np.testing.assert_array_equal(encoder.encode(TEXTS[:1]), expected(TEXTS[:1], "mean"))
    with pytest.raises(ArtifactError, match=r"mean_fp32\.onnx cannot be loaded"):
        open_encoder(tmp_path / "DIR", manifest, form="plain")


def test_strategies_differ():
    # Without this, loading the wrong graph could pass the test above.
    assert not np.array_equal(expected(TEXTS, "cls"), expected(TEXTS, "mean"))


@pytest.mark.parametrize(
    ("strategies", "dtypes", "chosen"),
    [
        (("cls", "mean"), ("fp16", "fp32"), ("mean", "fp32")),
        (("cls",), ("fp16",), ("cls", "fp16")),
    ],
)
def test_defaults_are_the_trained_strategy_and_fp32(
    tmp_path: Path, strategies: tuple[str, ...], dtypes: tuple[str, ...], chosen: tuple[str, str]
):
    write_artifact(tmp_path / "DIR", strategies=strategies, dtypes=dtypes)
    with poolfold.load(tmp_path / "DIR") as encoder:
        assert (encoder.strategy, encoder.dtype) == chosen


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"strategy": "max"}, "no strategy 'max'; it has cls, mean"),
        ({"dtype": "int8"}, r"no dtype \(for strategy mean\) 'int8'; it has fp32"),
        ({"target": "cuda"}, "unknown target 'cuda'; expected one of onnxruntime, openvino, tensorrt, tensorrt-rtx"),
        ({"threads": 0}, "threads is 0"),
        ({"threads": -2}, "threads is -2"),
    ],
)
def test_what_is_not_there_is_refused(tmp_path: Path, asked: dict[str, Any], message: str):
    write_artifact(tmp_path / "DIR", strategies=("cls", "mean"))
    with pytest.raises(InputError, match=message):
        poolfold.load(tmp_path / "DIR", **asked)


@without_gpu
def test_an_engine_that_cannot_run_here_says_which_and_why(tmp_path: Path):
    write_artifact(tmp_path / "DIR", strategies=("cls", "mean"), engines=("tensorrt-rtx",))
    with pytest.raises(TargetUnavailable, match=r"mean_fp16\.engine cannot run here: .*no usable NVIDIA GPU"):
        poolfold.load(tmp_path / "DIR", target="tensorrt-rtx")
    with pytest.raises(TargetUnavailable, match=r"cls_fp16\.engine"):
        poolfold.load(tmp_path / "DIR", "cls", target="tensorrt-rtx", dtype="fp16")
    with pytest.raises(InputError, match=r"no tensorrt-rtx dtype \(for strategy mean\) 'fp32'; it has fp16"):
        poolfold.load(tmp_path / "DIR", target="tensorrt-rtx", dtype="fp32")


@pytest.mark.parametrize("strategy", ["cls", "mean"])
@pytest.mark.parametrize("dtype", [None, *EACH_DTYPE])
def test_openvino_runs_the_graph_in_the_precision_that_was_asked_for(
    openvino_artifact: Path, strategy: str, dtype: str | None
) -> None:
    with (
        poolfold.load(openvino_artifact, strategy) as ours,
        poolfold.load(openvino_artifact, strategy, "openvino", dtype, threads=1, spinning=False) as theirs,
    ):
        assert (theirs.target, theirs.strategy, theirs.dtype) == ("openvino", strategy, dtype or "fp32")
        moved = np.abs(theirs.encode(TEXTS) - ours.encode(TEXTS)).max()
        assert moved < 1e-6 if theirs.dtype == "fp32" else 1e-4 < moved < 1e-2


def test_openvino_has_only_what_was_exported_for_it(openvino_artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no openvino dtype \(for strategy mean\) 'fp16'; it has fp32"):
        poolfold.load(openvino_artifact, target="openvino", dtype="fp16")
    with pytest.raises(InputError, match=r"no dtype \(for strategy mean\) 'bf16'; it has fp32\."):
        poolfold.load(openvino_artifact, dtype="bf16")
    write_artifact(tmp_path / "DIR")
    with pytest.raises(ArtifactError, match=r"no openvino engine.*it has onnxruntime.*--target openvino"):
        poolfold.load(tmp_path / "DIR", target="openvino")


def test_without_openvino_the_extra_is_named(openvino_artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(TargetUnavailable, match=r"pip install .*\[openvino\]'"):
        poolfold.load(openvino_artifact, target="openvino")


def test_a_missing_engine_says_how_to_build_one(tmp_path: Path):
    write_artifact(tmp_path / "DIR")
    with pytest.raises(ArtifactError, match=r"no tensorrt-rtx engine.*it has onnxruntime.*poolfold build DIR --target"):
        poolfold.load(tmp_path / "DIR", target="tensorrt-rtx")


def test_a_damaged_artifact_is_not_loaded(tmp_path: Path):
    write_artifact(tmp_path / "DIR")
    (tmp_path / "DIR/onnx/old.onnx").touch()
    with pytest.raises(ArtifactError, match="extra"):
        poolfold.load(tmp_path / "DIR")


def test_a_graph_that_is_none_is_not_loaded_though_its_hash_is_right(tmp_path: Path):
    manifest = write_artifact(tmp_path / "DIR")
    (tmp_path / "DIR/onnx/mean_fp32.onnx").write_bytes(b"noise")
    rewrite_manifest(tmp_path / "DIR", manifest, files=relist(tmp_path / "DIR", manifest, "onnx/mean_fp32.onnx"))
    with pytest.raises(ArtifactError, match="cannot be loaded by onnxruntime"):
        poolfold.load(tmp_path / "DIR")


def test_a_missing_tokenizer_is_refused(tmp_path: Path):
    manifest = write_artifact(tmp_path / "DIR")
    (tmp_path / "DIR/tokenizer.json").unlink()
    kept = tuple(file for file in manifest.files if file.path != "tokenizer.json")
    rewrite_manifest(tmp_path / "DIR", manifest, files=kept)
    with pytest.raises(ArtifactError, match=r"has no tokenizer\.json"):
        poolfold.load(tmp_path / "DIR")


def test_an_artifact_of_nothing_is_refused(tmp_path: Path):
    write_artifact(tmp_path / "DIR", strategies=())
    with pytest.raises(ArtifactError, match="no strategy at all"):
        poolfold.load(tmp_path / "DIR")


def test_a_dim_that_the_graph_does_not_give_is_found(tmp_path: Path):
    write_artifact(tmp_path / "DIR", strategies=("mean",))
    manifest = poolfold.verify(tmp_path / "DIR")
    wrong = (Strategy(name="mean", trained=True, dim=DIM + 1),)
    rewrite_manifest(tmp_path / "DIR", manifest, strategies=wrong)
    with poolfold.load(tmp_path / "DIR") as encoder, pytest.raises(ArtifactError, match=r"expected float32 \[1, 9\]"):
        encoder.encode(["w1"])
