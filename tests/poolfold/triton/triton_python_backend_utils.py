"""What Triton gives to a model of its Python backend, as far as ours asks: it lies on no path outside the server."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class Tensor:
    def __init__(self, name: str, values: npt.NDArray[Any]) -> None:
        self.name, self.values = name, values

    def as_numpy(self) -> npt.NDArray[Any]:
        return self.values


class TritonError(Exception):
    INVALID_ARG, INTERNAL = 3, 4

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class InferenceResponse:
    def __init__(self, tensors: list[Tensor], error: TritonError | None = None) -> None:
        self.tensors, self.error = tensors, error

    def values(self, name: str) -> npt.NDArray[Any]:
        assert self.error is None, self.error
        return next(tensor.values for tensor in self.tensors if tensor.name == name)


class Request:
    def __init__(self, *texts: str | bytes) -> None:
        encoded = [text.encode() if isinstance(text, str) else text for text in texts]
        self.tensors = [Tensor("text", np.array([[text] for text in encoded], dtype=object))]


def get_input_tensor_by_name(request: Request, name: str) -> Tensor:
    return next(tensor for tensor in request.tensors if tensor.name == name)
