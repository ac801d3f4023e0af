"""What others make of a checkpoint in int8: made in the peers' environment, named, and loaded as systems."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench.exports import OPTIMUM, environment_of, export_optimum
from exporter.measure.systems import System
from exporter.parity.tokens import make_batch
from exporter.quantization.texts import calibration_texts
from exporter.spec.model import ModelSpec
from poolfold.sessions.int8_products import exact_products

_OURS_DYNAMIC, _PYTORCH = "ONNX Runtime dynamic int8 of our graph", "PyTorch dynamic int8"
_EXPORT = "optimum"


def peers(
    spec: ModelSpec, strategy: str, artifact: Path, build: Path, venv: Path
) -> tuple[list[System], dict[str, str]]:
    """Their systems, and those that could not be made, with the reason."""
    checkpoint = spec.source.folder
    python = environment_of(OPTIMUM, venv) / "python"
    export = export_optimum(checkpoint, build, venv, {_EXPORT: ()})[_EXPORT].parent
    made = build / "int8"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    _quantise(spec, export, checkpoint, python, made)
    dynamic = made / "ours.onnx"
    quantize_dynamically(artifact / "onnx" / f"{strategy}_fp32.onnx", dynamic)
    found = {
        _OURS_DYNAMIC: ("onnxruntime", "load_onnxruntime:load_folded", {"path": str(dynamic), "settings": {}}),
        _PYTORCH: ("pytorch", "load_pytorch:load_int8", {"folder": str(checkpoint)}),
        "optimum dynamic int8": ("onnxruntime", "load_onnxruntime:load", {"path": str(made / "dynamic/model.onnx")}),
        "optimum static int8": ("onnxruntime", "load_onnxruntime:load", {"path": str(made / "static/model.onnx")}),
        "NNCF PTQ of optimum's export, OpenVINO": (
            "openvino", "load_openvino:load", {"path": str(made / "nncf/model.xml"), "precision": "f32"},
        ),
        "CTranslate2 int8": ("ctranslate2", "load_ctranslate2:load", {"path": str(made / "ctranslate2")}),
    }  # fmt: skip
    failed = {path.parent.name: path.read_text() for path in made.glob("*/FAILED.txt")}
    systems = [
        _system(name, strategy, runtime, load, arguments, str(python) if runtime == "ctranslate2" else "")
        for name, (runtime, load, arguments) in found.items()
        if not any(f"/{way}/" in f"{arguments.get('path')}/" for way in failed)
    ]
    return systems, failed


def _system(name: str, strategy: str, runtime: str, load: str, arguments: Mapping[str, object], python: str) -> System:
    return System(name, strategy, "int8", runtime, f"bench.{load}", arguments, "", python=python)


def _quantise(spec: ModelSpec, export: Path, checkpoint: Path, python: Path, output: Path) -> None:
    """By the same texts as ours, each alone."""
    tokens = calibration_texts(spec, ())
    batches = [make_batch(tokens, [row]) for row in range(len(tokens.rows))]
    arrays = {f"{n:03}": np.concatenate([b.input_ids, b.attention_mask]) for n, b in enumerate(batches)}
    np.savez(output / "tokens.npz", **arrays)  # type: ignore[arg-type]
    vnni = "0" if exact_products() == "1" else "1"
    worker = Path(__file__).with_name("quantise.py")
    places = (path.absolute() for path in (export, checkpoint, output / "tokens.npz"))
    line = [python, worker.absolute(), *places, vnni, output.absolute()]
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    variables |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    # There, as calibration leaves a graph in the folder where it runs.
    subprocess.run([*map(str, line)], check=True, env=variables, stdout=sys.stderr, cwd=output)


def quantize_dynamically(graph: Path, output: Path) -> None:
    """ONNX Runtime's own dynamic quantisation, a scale for each column of a weight."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(graph, output, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])
