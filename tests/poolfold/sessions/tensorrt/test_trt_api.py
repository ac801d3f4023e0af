"""Every name of TensorRT and TensorRT-RTX that the sessions call, held against the libraries' own bindings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trt_api import called, missing, stub_libraries

SESSIONS = Path(__file__).parents[4] / "poolfold" / "sessions" / "tensorrt"
MODULE = {"trt": ""}
ENGINE = {"engine": "ICudaEngine", "context": "IExecutionContext", "runtime": "Runtime"}
CLASSES = {
    "library": MODULE,
    "checks": MODULE | {"runtime": "Runtime"},
    "engine": MODULE | ENGINE | {"refitter": "Refitter", "parser": "OnnxParserRefitter"},
    "context": MODULE | ENGINE | {"config": "IRuntimeConfig", "_cache": "IRuntimeCache"},
    "lane": MODULE | ENGINE | {"_context": "IExecutionContext"},
}
ONLY_RTX = {
    "CudaGraphStrategy",
    "EngineInvalidityDiagnostics",
    "EngineInvalidityDiagnostics.__members__.items",
    "EngineValidity",
    "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE",
    "EngineInvalidityDiagnostics.__members__",
    "EngineValidity.INVALID",
    "IRuntimeCache.deserialize",
    "IRuntimeCache.serialize",
    "IRuntimeConfig.create_runtime_cache",
    "IRuntimeConfig.cuda_graph_strategy",
    "IRuntimeConfig.set_runtime_cache",
    "Runtime.get_engine_validity",
}
"""Called for TensorRT-RTX's engines, or where the library has the name."""


def every_name() -> frozenset[str]:
    names = frozenset().union(*(called(SESSIONS / f"{file}.py", classes) for file, classes in CLASSES.items()))
    return names - {"__version__"}


def test_the_names_are_found_in_the_source() -> None:
    names = every_name()
    assert names >= ONLY_RTX
    assert {
        "ICudaEngine.create_execution_context",
        "ICudaEngine.device_memory_size_v2",
        "ICudaEngine.get_tensor_profile_shape",
        "IExecutionContext.execute_async_v3",
        "IExecutionContext.set_device_memory",
        "IExecutionContext.set_optimization_profile_async",
        "OnnxParserRefitter.refit_from_file",
        "Refitter.refit_cuda_engine",
        "Runtime.deserialize_cuda_engine",
        "ExecutionContextAllocationStrategy.USER_MANAGED",
        "DataType.INT64",
        "TensorIOMode.INPUT",
        "ILogger.Severity.ERROR",
    } <= names


def test_every_file_that_holds_the_library_is_looked_at() -> None:
    holding = {path.stem for path in SESSIONS.glob("*.py") if called(path, MODULE)}
    assert holding == {*CLASSES} - {"lane"}  # which holds the engine and its contexts only


def test_tensorrt_rtx_has_every_name() -> None:
    assert missing("tensorrt_rtx", every_name()) == []


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stub_libraries(tmp_path_factory.mktemp("stub"))


def test_tensorrt_has_every_name_but_those_of_tensorrt_rtx(libraries: Path) -> None:
    assert missing("tensorrt_bindings", every_name() - ONLY_RTX, libraries) == []
    assert "Runtime.get_engine_validity" in missing("tensorrt_bindings", every_name(), libraries)


def test_a_name_that_is_not_there_is_found(libraries: Path) -> None:
    wrong = frozenset({"IExecutionContext.execute_async_v4", "Runtime.deserialize_cuda_engine"})
    assert missing("tensorrt_rtx", wrong) == ["IExecutionContext.execute_async_v4"]
    assert missing("tensorrt_bindings", wrong, libraries) == ["IExecutionContext.execute_async_v4"]
