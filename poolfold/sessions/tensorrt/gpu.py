"""Query the NVIDIA GPU of this machine through cuda-bindings, NVIDIA's own bindings. Independent of engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from poolfold.errors import TargetUnavailable

_CUDA = "pip install cuda-bindings"


@dataclass(frozen=True)
class Gpu:
    """A GPU.

    ordinal: its number on this machine.
    compute_capability: such as "8.9".
    driver: the newest CUDA release that the driver supports, such as "13.0".
    """

    ordinal: int
    name: str
    compute_capability: str
    driver: str


def load_cuda() -> Any:
    """The module `cuda.bindings.runtime`.

    Raises:
        TargetUnavailable: it is not installed.
    """
    try:
        from cuda.bindings import runtime
    except (ImportError, OSError) as error:
        raise TargetUnavailable(f"cuda-bindings is not available here: {error}. Install it: {_CUDA}") from error
    return runtime


def find_gpu(ordinal: int) -> Gpu:
    """A GPU by its number.

    Raises:
        TargetUnavailable: no cuda-bindings, no driver, a driver that is too old, or no such GPU.
    """
    cuda = load_cuda()
    (code, count) = cuda.cudaGetDeviceCount()
    if code != cuda.cudaError_t.cudaSuccess:
        raise TargetUnavailable(f"this machine has no usable NVIDIA GPU: {explain(cuda, code)}.")
    if not 0 <= ordinal < count:
        raise TargetUnavailable(f"this machine has no GPU number {ordinal}; it has {count}, counted from 0.")
    properties = succeed(cuda, cuda.cudaGetDeviceProperties(ordinal))
    driver = succeed(cuda, cuda.cudaDriverGetVersion())
    return Gpu(
        ordinal=ordinal,
        name=bytes(properties.name).rstrip(b"\0").decode(),
        compute_capability=f"{properties.major}.{properties.minor}",
        driver=f"{driver // 1000}.{driver % 1000 // 10}",
    )


def succeed(cuda: Any, answer: tuple[Any, ...]) -> Any:
    """The results of a call of the CUDA runtime, without its error code.

    Raises:
        TargetUnavailable: the call failed; the message has the runtime's description.
    """
    code, *values = answer
    if code != cuda.cudaError_t.cudaSuccess:
        raise TargetUnavailable(f"the CUDA runtime failed: {explain(cuda, code)}.")
    return values[0] if len(values) == 1 else tuple(values)


def explain(cuda: Any, code: Any) -> str:
    """The CUDA runtime's name and description of an error code."""
    _, text = cuda.cudaGetErrorString(code)
    return f"{code.name}, {text.decode() if isinstance(text, bytes) else text}"
