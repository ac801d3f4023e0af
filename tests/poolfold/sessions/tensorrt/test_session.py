"""Real TensorRT-RTX engines on a machine without a GPU: refused for the true reason, never with a traceback."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

import poolfold
from exporter.commands.cli import run_command
from exporter.spec.model import DType
from poolfold.choice import runnables
from poolfold.errors import ArtifactError, InputError, TargetUnavailable
from poolfold.load import open_encoder
from poolfold.manifest import Engine
from poolfold.sessions.tensorrt.checks import check_plan, find_place, make_runtime, runs_here
from poolfold.sessions.tensorrt.engine import deserialise
from tests.artifacts import write_artifact
from tests.conftest import export_here
from tests.gpu_here import without_gpu

trt = pytest.importorskip("tensorrt_rtx", reason="the extra tensorrt-rtx is not installed")
NO_DRIVER = r"no usable NVIDIA GPU: cudaError(InsufficientDriver|NoDevice), "


@pytest.fixture(scope="module")
def engines(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT's artifact, with engines that TensorRT-RTX built."""
    output = tmp_path_factory.mktemp("engines") / "tiny"
    both = ("onnxruntime", "tensorrt-rtx")
    export_here(checkpoint, output, pooling=("mean", "cls"), dtypes=(DType.FP16,), targets=both)
    return output


@pytest.fixture(scope="module")
def engine(engines: Path) -> Engine:
    return next(e for e in poolfold.verify(engines).engines if (e.strategy, e.form) == ("mean", "plain"))


@without_gpu
@pytest.mark.parametrize("strategy", ["mean", "cls"])
def test_an_engine_is_refused_for_want_of_a_driver(engines: Path, strategy: str) -> None:
    where = rf"engines/tensorrt-rtx/{strategy}_fp16\.engine cannot run here: this machine has "
    with pytest.raises(TargetUnavailable, match=where + NO_DRIVER) as caught:
        poolfold.load(engines, strategy, target="tensorrt-rtx")
    assert caught.value.exit_code == 3


@without_gpu
@pytest.mark.parametrize("form", ["plain", "packed"])
def test_each_form_is_refused_alike(engines: Path, form: str) -> None:
    manifest = poolfold.verify(engines)
    if form not in {engine.form for engine in manifest.engines}:
        with pytest.raises(ArtifactError, match=f"has no {form} form for tensorrt-rtx"):
            open_encoder(engines, manifest, target="tensorrt-rtx", form=form)
        return
    with pytest.raises(TargetUnavailable, match=NO_DRIVER):
        open_encoder(engines, manifest, target="tensorrt-rtx", form=form)


@without_gpu
def test_the_command_line_says_it_in_one_line(
    engines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "texts.txt").write_text("one\n")
    vectors = tmp_path / "vectors.npy"
    arguments = [
        "embed",
        str(engines),
        "--target",
        "tensorrt-rtx",
        "-i",
        str(tmp_path / "texts.txt"),
        "-o",
        str(vectors),
    ]
    assert run_command(arguments) == 3
    written = capsys.readouterr().err
    assert re.search(NO_DRIVER, " ".join(written.split()))
    assert "Traceback" not in written
    assert not vectors.exists()
    assert run_command(["bench", str(engines), "--target", "tensorrt-rtx"]) == 3
    assert run_command(["validate", str(engines), "--target", "tensorrt-rtx"]) == 3


@without_gpu
def test_only_what_runs_here_is_listed(engines: Path, engine: Engine) -> None:
    manifest = poolfold.verify(engines)
    assert manifest.engines
    assert {entry.target for entry in runnables(manifest)} == {"onnxruntime"}
    assert not runs_here(engine)
    assert {e.status for e in manifest.engines} == {"built"}


@without_gpu
def test_the_library_itself_says_that_a_real_engine_cannot_be_loaded(engines: Path, engine: Engine) -> None:
    runtime = make_runtime(trt)
    why = check_plan(trt, runtime, (engines / engine.path).read_bytes())
    assert why is not None
    assert "CUDA driver version is insufficient" in why
    with pytest.raises(TargetUnavailable, match=r"refused by tensorrt-rtx .*CUDA driver.*poolfold build DIR --target"):
        deserialise(trt, runtime, engines / engine.path, engine, (engines / engine.path).read_bytes())


@without_gpu
def test_noise_is_refused_by_the_library_too(tmp_path: Path, engine: Engine) -> None:
    with pytest.raises(TargetUnavailable, match=r"noise\.engine is refused by tensorrt-rtx"):
        deserialise(trt, make_runtime(trt), tmp_path / "noise.engine", engine, b"no engine at all" * 100)


@without_gpu
def test_full_tensorrt_is_asked_for_the_same_gpu(engine: Engine) -> None:
    with pytest.raises(TargetUnavailable, match=NO_DRIVER):
        find_place(msgspec.structs.replace(engine, target="tensorrt"), 0)


def test_a_missing_engine_says_how_to_build_one(tmp_path: Path) -> None:
    write_artifact(tmp_path / "DIR", engines=("tensorrt-rtx",))
    with pytest.raises(ArtifactError, match=r"no tensorrt engine.*; it has .*tensorrt-rtx\. .*poolfold build DIR"):
        poolfold.load(tmp_path / "DIR", target="tensorrt")


def test_a_gpu_has_a_number(engines: Path) -> None:
    for gpu in (-1, "0"):
        with pytest.raises(InputError, match="expected its number, counted from 0"):
            poolfold.load(engines, target="tensorrt-rtx", gpu=gpu)  # type: ignore[arg-type]
