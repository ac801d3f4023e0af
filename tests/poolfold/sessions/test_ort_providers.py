"""ONNX Runtime on NVIDIA GPUs: exact options, and the refusals of an ONNX Runtime that has no such provider."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

import poolfold
from exporter.commands.cli import run_command
from poolfold.errors import InputError, TargetUnavailable
from poolfold.manifest import Profile, Range
from poolfold.sessions.ort import OnnxRuntimeSession
from poolfold.sessions.ort_providers import (
    CUDA_NAME,
    RTX_NAME,
    TENSORRT_NAME,
    Provider,
    choose_profile,
    provider_options,
    require_used,
    work_on_cpu,
)
from tests.artifacts import write_artifact
from tests.graphs.build import FLOAT, INT64, GraphBuilder

NAMES = {"cuda": CUDA_NAME, "tensorrt": TENSORRT_NAME, "tensorrt-rtx": RTX_NAME}
INPUTS = ("input_ids", "attention_mask")
SHAPES = {
    "min": "input_ids:1x2,attention_mask:1x2",
    "opt": "input_ids:8x128,attention_mask:8x128",
    "max": "input_ids:64x512,attention_mask:64x512",
}


def profile(batch: tuple[int, int, int], seq: tuple[int, int, int], share: float | None = None) -> Profile:
    ranges = [Range(min=r[0], opt=r[1], max=r[2]) for r in (batch, seq)]
    return Profile(batch=ranges[0], seq_len=ranges[1], share=share)


def provider(name: str, cache: Path = Path("cache")) -> Provider:
    return Provider(name, 1, inputs=INPUTS, profile=profile((1, 8, 64), (2, 128, 512)), cache=cache)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cuda", {"device_id": "1", "use_tf32": "0"}),
        (
            "tensorrt",
            {
                "device_id": "1",
                "trt_engine_cache_enable": "1",
                "trt_engine_cache_path": "cache/1.32.0",
                "trt_timing_cache_enable": "1",
                "trt_timing_cache_path": "cache/1.32.0",
                **{f"trt_profile_{bound}_shapes": shapes for bound, shapes in SHAPES.items()},
            },
        ),
        (
            "tensorrt-rtx",
            {
                "device_id": "1",
                "nv_runtime_cache_path": "cache/1.32.0",
                **{f"nv_profile_{bound}_shapes": shapes for bound, shapes in SHAPES.items()},
            },
        ),
    ],
)
def test_the_options_of_a_provider(name: str, expected: dict[str, str]) -> None:
    assert provider_options(provider(name), version="1.32.0") == expected


def test_without_engines_the_profile_is_the_default() -> None:
    assert choose_profile([], 512) == profile((1, 8, 64), (1, 128, 512))
    assert choose_profile([], 64) == profile((1, 8, 64), (1, 64, 64))


def test_engines_profiles_are_spanned_and_the_most_used_is_tuned_for() -> None:
    buckets = [profile((1, 4, 32), (1, 32, 32), 0.2), profile((2, 16, 64), (33, 96, 128), 0.8)]
    assert choose_profile(buckets, 512) == profile((1, 16, 64), (1, 96, 128))
    assert choose_profile(buckets[:1], 512) == profile((1, 4, 32), (1, 32, 32))


RISING = st.lists(st.integers(1, 600), min_size=3, max_size=3).map(lambda numbers: tuple(sorted(numbers)))


@given(st.lists(st.builds(profile, RISING, RISING, st.none() | st.floats(0, 1)), min_size=1, max_size=5))
def test_the_span_takes_whatever_an_engine_takes(profiles: list[Profile]) -> None:
    spanned = choose_profile(profiles, 600)
    for entry in profiles:
        for whole, part in ((spanned.batch, entry.batch), (spanned.seq_len, entry.seq_len)):
            assert whole.min <= part.min <= part.max <= whole.max
            assert whole.min <= whole.opt <= whole.max


@pytest.mark.parametrize("name", NAMES)
def test_a_provider_that_is_not_installed_is_refused_before_the_graph_is_loaded(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if NAMES[name] in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has {NAMES[name]}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_artifact(tmp_path / "DIR", dtypes=("fp32", "fp16"))
    with pytest.raises(TargetUnavailable) as caught:
        poolfold.load(tmp_path / "DIR", dtype="fp16", provider=name)
    message = str(caught.value)
    assert f"provider {name} is not available here: onnxruntime {onnxruntime.__version__} has " in message
    assert f"CPUExecutionProvider; expected {NAMES[name]}." in message
    assert ("onnxruntime-ep-nv-tensorrt-rtx" if name == "tensorrt-rtx" else "pip uninstall onnxruntime;") in message
    assert not (tmp_path / "cache").exists()


def test_the_command_line_refuses_it_with_exit_code_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if CUDA_NAME in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has {CUDA_NAME}")
    write_artifact(tmp_path / "DIR")
    (tmp_path / "texts.txt").write_text("w1\n")
    files = ["-i", str(tmp_path / "texts.txt"), "-o", str(tmp_path / "vectors.npy")]
    assert run_command(["embed", str(tmp_path / "DIR"), "--provider", "cuda", *files]) == 3
    assert "expected CUDAExecutionProvider" in " ".join(capsys.readouterr().err.split())
    assert run_command(["validate", str(tmp_path / "DIR"), "--provider", "cuda"]) == 3
    assert run_command(["bench", str(tmp_path / "DIR"), "--provider", "cuda"]) == 3
    assert not (tmp_path / "vectors.npy").exists()


def test_a_provider_is_one_of_a_few_and_of_onnxruntime(tmp_path: Path) -> None:
    write_artifact(tmp_path / "DIR")
    with pytest.raises(InputError, match="unknown provider 'rocm'; expected one of cpu, cuda, tensorrt, tensorrt-rtx"):
        poolfold.load(tmp_path / "DIR", provider="rocm")
    with pytest.raises(InputError, match="provider cuda is one of target onnxruntime; got target openvino"):
        poolfold.load(tmp_path / "DIR", target="openvino", provider="cuda")


def cpu_session(path: Path, *, told: bool) -> onnxruntime.InferenceSession:
    """A session that computes on the CPU, as one that fell back would; `told`: and says where it computes what."""
    build = GraphBuilder()
    ids, _ = (build.input(name, INT64, "batch", "seq") for name in ("input_ids", "attention_mask"))
    values = build.op("Cast", ids, to=FLOAT)
    product = build.op("MatMul", build.op("Softmax", values), build.op("Transpose", values, perm=[1, 0]))
    product.name = "sentence_embedding"
    ir.save(build.model(product), path)
    options = onnxruntime.SessionOptions()
    if told:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", NAMES)
def test_a_session_that_fell_back_to_the_cpu_is_found_out(tmp_path: Path, name: str) -> None:
    session = cpu_session(tmp_path / "graph.onnx", told=True)
    with pytest.raises(TargetUnavailable, match=rf"with CPUExecutionProvider; expected {NAMES[name]}\. .*provider cpu"):
        require_used(onnxruntime, session, provider(name), tmp_path / "graph.onnx")


def test_work_left_to_the_cpu_is_found_by_its_operators(tmp_path: Path) -> None:
    found = work_on_cpu(onnxruntime, cpu_session(tmp_path / "graph.onnx", told=True))
    assert "Softmax" in found
    assert {"MatMul", "FusedMatMul"} & set(found)
    assert "Cast" not in found


def test_a_session_on_the_cpu_never_tries_again_by_itself(tmp_path: Path) -> None:
    write_artifact(tmp_path / "DIR")
    session = OnnxRuntimeSession(tmp_path / "DIR/onnx/mean_fp32.onnx")
    assert session._open is not None
    assert session._open[0]._enable_fallback is False
