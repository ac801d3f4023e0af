"""Every name of TensorRT and TensorRT-RTX that the builder calls, held against the libraries' own bindings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trt_api import called, missing, stub_libraries

TARGETS = Path(__file__).parents[3] / "exporter" / "targets"
MODULE = {"trt": ""}
BUILD = MODULE | {"builder": "Builder", "network": "INetworkDefinition", "config": "IBuilderConfig"}
CLASSES = {
    "attention_layers": BUILD | {"layer": "ILayer"},
    "build_progress": MODULE,
    "engine_builder": BUILD,
    "engine_config": BUILD | {"shapes": "IOptimizationProfile"},
    "engine_inspector": MODULE | {"runtime": "Runtime", "engine": "ICudaEngine", "inspector": "EngineInspector"},
    "timing_cache": MODULE | {"config": "IBuilderConfig", "cache": "ITimingCache"},
    "trt_library": MODULE,
    "trt_network": BUILD | {"layer": "ILayer", "parser": "OnnxParser", "error": "ParserError"},
}
ONLY_RTX = {
    "ComputeCapability",
    "ComputeCapability.__members__",
    "IBuilderConfig.get_compute_capability",
    "IBuilderConfig.num_compute_capabilities",
    "IBuilderConfig.set_compute_capability",
}
"""Called for TensorRT-RTX alone."""
# Gone with TensorRT 11, and in every tutorial.
REMOVED = {"BuilderFlag.FP16", "ICudaEngine.device_memory_size", "NetworkDefinitionCreationFlag.EXPLICIT_BATCH"}


def every_name() -> frozenset[str]:
    names = frozenset().union(*(called(TARGETS / f"{file}.py", classes) for file, classes in CLASSES.items()))
    return names - {"__version__"}


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stub_libraries(tmp_path_factory.mktemp("stub"))


def test_the_names_are_found_in_the_source() -> None:
    assert {
        *("Builder.build_serialized_network", "BuilderFlag.TF32", "IBuilderConfig.progress_monitor"),
        *("INetworkDefinition.get_layer", "OnnxParser.parse_from_file", "IOptimizationProfile.set_shape"),
        *("ICudaEngine.create_engine_inspector", "ITimingCache.serialize", "ILogger", "ParserError.node_operator"),
        *("LayerInformationFormat.JSON", "BuilderFlag.STRIP_PLAN", "HardwareCompatibilityLevel", *ONLY_RTX),
    } <= every_name()


def test_every_file_that_holds_the_library_is_looked_at() -> None:
    assert {path.stem for path in TARGETS.glob("*.py") if called(path, MODULE)} == {*CLASSES} - {"timing_cache"}
    # That one holds a configuration and a cache only.


def test_tensorrt_rtx_has_every_name() -> None:
    assert missing("tensorrt_rtx", every_name()) == []


def test_tensorrt_has_every_name_but_those_of_tensorrt_rtx(libraries: Path) -> None:
    assert missing("tensorrt_bindings", every_name() - ONLY_RTX, libraries) == []
    assert set(missing("tensorrt_bindings", every_name() | REMOVED, libraries)) == ONLY_RTX | REMOVED


def test_a_renamed_call_would_be_seen(tmp_path: Path) -> None:
    source = (TARGETS / "engine_config.py").read_text()
    (tmp_path / "renamed.py").write_text(source.replace("config.clear_flag", "config.clear_the_flag"))
    names = called(tmp_path / "renamed.py", CLASSES["engine_config"])
    assert missing("tensorrt_rtx", names) == ["IBuilderConfig.clear_the_flag"]
