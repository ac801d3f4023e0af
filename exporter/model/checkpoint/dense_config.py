"""Read a Dense module: its configuration and its weights.

Source: sentence-transformers, `Dense.load`. Where that library falls back to tanh on an activation it does not trust,
this refuses.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from exporter.model.checkpoint.json_object import read_object
from exporter.model.checkpoint.modules_json import check_names
from exporter.model.checkpoint.weight_files import read_small_tensors, weight_files
from exporter.model.checkpoint.weight_names import require_floats
from graphs.pooling.head import Activation, Dense
from poolfold.errors import CheckpointError

_ACTIVATIONS = {
    "Identity": Activation.IDENTITY,
    "Tanh": Activation.TANH,
    "Sigmoid": Activation.SIGMOID,
    "ReLU": Activation.RELU,
    "GELU": Activation.GELU,
    "SiLU": Activation.SILU,
}
"""By class of torch.nn; the library constructs them without arguments."""


def read_dense(folder: Path, width: int, *, allow_pickle: bool = False) -> Dense:
    """Read a Dense module whose input has `width` values.

    Raises:
        CheckpointError: an unknown activation, names other than sentence_embedding, missing, unexpected or non-finite
            weights, or shapes that fit neither the configuration nor `width`.
    """
    path = folder / "config.json"
    config = read_object(path)
    check_names(config, path)
    activation = _activation(config.get("activation_function", "torch.nn.Tanh"), path)
    sizes = (config.get("out_features"), config.get("in_features"))
    if sizes[1] != width:
        raise CheckpointError(f"{path} has in_features {sizes[1]!r}; the module before it gives {width} values.")
    residual = config.get("use_residual", False)
    projected = residual and sizes[0] != sizes[1]
    expected: dict[str, tuple[object, ...]] = {"linear.weight": sizes}
    if config.get("bias", True):
        expected["linear.bias"] = sizes[:1]
    if projected:
        expected["residual.weight"] = sizes
    tensors = _weights(folder, allow_pickle=allow_pickle)
    got: dict[str, tuple[object, ...]] = {name: tensor.shape for name, tensor in tensors.items()}
    if got != expected:
        raise CheckpointError(
            f"{folder} holds the weights {_shapes(got)}; its config.json asks for {_shapes(expected)}. "
            "Download the checkpoint again."
        )
    return Dense(
        weight=tensors["linear.weight"],
        bias=tensors.get("linear.bias"),
        activation=activation,
        residual=tensors["residual.weight"] if projected else "identity" if residual else None,
    )


def _activation(name: object, path: Path) -> Activation:
    """The activation of a class path such as torch.nn.modules.activation.Tanh."""
    expected_files = (
        _ACTIVATIONS.get(name.rpartition(".")[2]) if isinstance(name, str) and name.startswith("torch.nn.") else None
    )
    if expected_files is None:
        raise CheckpointError(
            f"{path} has activation_function {name!r}; supported are {', '.join(_ACTIVATIONS)} of torch.nn."
        )
    return expected_files


def _weights(folder: Path, *, allow_pickle: bool) -> dict[str, npt.NDArray[np.float32]]:
    tensors: dict[str, npt.NDArray[np.float32]] = {}
    for path in weight_files(folder, allow_pickle=allow_pickle):
        tensors |= read_small_tensors(path) if path.suffix == ".safetensors" else _unpickled(folder, path)
    return tensors


def _unpickled(folder: Path, path: Path) -> dict[str, npt.NDArray[np.float32]]:
    # PyTorch alone reads its pickles; all else here works without it.
    from exporter.model.checkpoint.weights import check_weights, read_tensors, stored_dtypes

    check_weights(folder, allow_pickle=True)
    dtypes = stored_dtypes(folder, allow_pickle=True)
    require_floats(folder, dtypes, dtypes)
    return {name: tensor.float().numpy() for name, tensor in read_tensors(path)}


def _shapes(shapes: dict[str, tuple[object, ...]]) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items())) or "none"
