"""Every name of TensorRT's API that poolfold uses exists, in TensorRT 11's bindings and in TensorRT-RTX."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tensorrt_api.bindings import missing
from tests.tensorrt_api.calls import CLASSES, used

ROOT = Path(__file__).parents[2]
# Where `layer` is a value of our own.
NO_LAYER = {name: class_ for name, class_ in CLASSES.items() if name != "layer"}
FILES = {
    "exporter/targets/attention_layers.py": CLASSES,
    "exporter/targets/engine_builder.py": NO_LAYER,
    "exporter/targets/engine_config.py": CLASSES,
    # Elsewhere `engine` is a path.
    "exporter/targets/engine_inspector.py": NO_LAYER | {"engine": "ICudaEngine"},
    "exporter/targets/timing_cache.py": CLASSES,
    "exporter/targets/trt_library.py": {},
    "exporter/targets/build_progress.py": {},
    "exporter/targets/trt_network.py": CLASSES,
}
RTX_ONLY = {
    "CudaGraphStrategy",
    "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE",
    "EngineInvalidityDiagnostics",
    "EngineValidity",
    "EngineValidity.INVALID",
    "IRuntimeCache.deserialize",
    "IRuntimeConfig.create_runtime_cache",
    "IRuntimeConfig.cuda_graph_strategy",
    "IRuntimeConfig.set_runtime_cache",
    "Runtime.get_engine_validity",
    "ComputeCapability",
    "IBuilderConfig.get_compute_capability",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
}
"""Called for TensorRT-RTX alone; TensorRT lacks them."""
MADE_UP = {"BuilderFlag.FP17", "IBuilderConfig.set_flags_for_me", "NoSuchClass"}
# Removed with TensorRT 11: what every tutorial calls.
REMOVED = {"BuilderFlag.FP16", "ICudaEngine.device_memory_size", "NetworkDefinitionCreationFlag.EXPLICIT_BATCH"}


def names() -> set[str]:
    return set().union(*(used(ROOT / file, classes) for file, classes in FILES.items()))


def test_the_names_are_read_off_the_source():
    found = names()
    assert {
        *("Builder.build_serialized_network", "BuilderFlag.TF32", "IBuilderConfig.progress_monitor"),
        *("INetworkDefinition.get_layer", "OnnxParser.parse_from_file", "IOptimizationProfile.set_shape"),
        *("ICudaEngine.create_engine_inspector", "ITimingCache.serialize", "ILogger", "ParserError.node_operator"),
        *("LayerInformationFormat.JSON", "BuilderFlag.STRIP_PLAN", "ILogger.Severity.WARNING"),
    } <= found
    assert len(found) > 50


def test_a_renamed_call_would_be_seen(tmp_path: Path):
    source = (ROOT / "exporter/targets/engine_config.py").read_text()
    (tmp_path / "renamed.py").write_text(source.replace("config.clear_flag", "config.clear_the_flag"))
    assert "IBuilderConfig.clear_the_flag" in used(tmp_path / "renamed.py")


def test_tensorrt_11_has_them_all(tmp_path: Path):
    version, lacking = missing("tensorrt_bindings", names() | MADE_UP | REMOVED, tmp_path)
    assert version.startswith("11.")
    assert lacking == RTX_ONLY | MADE_UP | REMOVED


def test_tensorrt_rtx_has_them_all(tmp_path: Path):
    version, lacking = missing("tensorrt_rtx", names() | RTX_ONLY | MADE_UP, tmp_path)
    assert version.startswith("1.")
    assert lacking == MADE_UP


@pytest.mark.parametrize("file", FILES)
def test_every_file_that_touches_the_library_is_read(file: str):
    assert used(ROOT / file, FILES[file])


def test_no_other_file_touches_the_library():
    touching = {
        path.relative_to(ROOT).as_posix()
        for package in ("exporter", "poolfold", "graphs")
        for path in (ROOT / package).rglob("*.py")
        if "trt." in path.read_text()
    }
    assert touching <= set(FILES)
