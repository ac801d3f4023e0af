"""In an environment with NNCF and nothing of poolfold: put a graph's weights into 4 bits, and give the vectors.

usage: four_bits_worker.py GRAPH TOKENS.npz OUTPUT.npz; TOKENS has calibrate_N and judge_N, int64 [rows, 2, tokens].
"""

import importlib
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # it reports over the network
nncf: Any = importlib.import_module("nncf")
ov: Any = importlib.import_module("openvino")
op: Any = importlib.import_module("openvino.opset13")

_GROUP = 32
VARIANTS: dict[str, dict[str, Any]] = {
    "symmetric": {"mode": "INT4_SYM"},
    "asymmetric": {"mode": "INT4_ASYM"},
    "symmetric, AWQ": {"mode": "INT4_SYM", "awq": True},
    "symmetric, scale estimation": {"mode": "INT4_SYM", "scale_estimation": True},
    "symmetric, AWQ and scale estimation": {"mode": "INT4_SYM", "awq": True, "scale_estimation": True},
    "asymmetric, AWQ and scale estimation": {"mode": "INT4_ASYM", "awq": True, "scale_estimation": True},
    "symmetric, GPTQ": {"mode": "INT4_SYM", "gptq": True},
    "asymmetric, GPTQ": {"mode": "INT4_ASYM", "gptq": True},
}
"""What is told of -> the arguments of `nncf.compress_weights`. All layers are in 4 bits, and the embeddings in 8."""


def main(graph: str, tokens: str, output: str) -> None:
    """Compress, run, write float32 [texts, dim] for each variant; a variant that fails has its message instead."""
    core = ov.Core()
    arrays = np.load(tokens)
    calibrate, judge = ([arrays[name] for name in arrays if name.startswith(kind)] for kind in ("calibrate", "judge"))
    found: dict[str, npt.NDArray[Any]] = {}
    variants: dict[str, dict[str, Any]] = {"": {}, **VARIANTS}
    for name, given in variants.items():
        model = _transposed(core.read_model(graph))
        options = dict(given)
        try:
            if name:
                mode = getattr(nncf.CompressWeightsMode, options.pop("mode"))
                data = nncf.Dataset(calibrate, _feeds)
                model = nncf.compress_weights(
                    model, mode=mode, group_size=_GROUP, ratio=1.0, dataset=data if options else None, **options
                )
            settings = {"INFERENCE_PRECISION_HINT": ov.Type.f32, "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
            request = core.compile_model(model, "CPU", settings).create_infer_request()
            rows = [next(iter(request.infer(_feeds(batch)).values())).copy() for batch in judge]
            found[name] = np.concatenate(rows)
        except Exception as error:  # whatever a library raises: the others still count
            found[name] = np.array(f"{type(error).__name__}: {error}"[:300])
    np.savez(output, **found)


def _transposed(model: Any) -> Any:
    """The graph with each weight [columns, channels], as PyTorch's layers have it.

    Of weights [channels, columns] NNCF 3.4 estimates wrong scales, and its GPTQ refuses them.
    """
    for node in model.get_ordered_ops():
        weight = node.input_value(1).get_node() if node.get_type_name() == "MatMul" else None
        if weight is None or weight.get_type_name() != "Constant" or node.get_attributes()["transpose_b"]:
            continue
        turned = op.constant(np.ascontiguousarray(weight.get_data().T))
        product = op.matmul(node.input_value(0), turned, node.get_attributes()["transpose_a"], True)
        product.set_friendly_name(node.get_friendly_name())
        for reader in node.output(0).get_target_inputs():
            reader.replace_source_output(product.output(0))
    return model


def _feeds(batch: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
    return {"input_ids": batch[:, 0], "attention_mask": batch[:, 1]}


if __name__ == "__main__":
    main(*sys.argv[1:])
