"""In the peers' environment, with nothing of poolfold: what others make of a checkpoint in int8.

usage: quantise.py EXPORT CHECKPOINT TOKENS.npz VNNI OUTPUT; EXPORT has optimum's model.onnx, TOKENS has texts, int64
[2, tokens] each, and VNNI is `1` where the CPU has it. Writes a folder for each way, or FAILED.txt in it.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # it reports over the network

Texts = list[npt.NDArray[np.int64]]


def main(export: str, checkpoint: str, tokens: str, vnni: str, output: str) -> None:
    """Make each; one that fails leaves its message."""
    arrays = np.load(tokens)
    texts = [arrays[name] for name in sorted(arrays)]
    ways: dict[str, Callable[[Path], None]] = {
        "dynamic": lambda folder: by_optimum(Path(export), folder, None, vnni == "1"),
        "static": lambda folder: by_optimum(Path(export), folder, texts, vnni == "1"),
        "nncf": lambda folder: by_nncf(Path(export), folder, texts),
        "ctranslate2": lambda folder: by_ctranslate2(checkpoint, folder),
    }
    for name, make in ways.items():
        folder = Path(output) / name
        folder.mkdir(parents=True)
        try:
            make(folder)
        except Exception as error:  # whatever a library raises: the others still count
            (folder / "FAILED.txt").write_text(f"{type(error).__name__}: {error}"[:300])


def by_optimum(export: Path, folder: Path, texts: Texts | None, vnni: bool) -> None:
    """The quantiser of optimum as it is configured for the CPU, a scale a column; static where there are texts."""
    onnxruntime: Any = importlib.import_module("optimum.onnxruntime")
    settings: Any = importlib.import_module("optimum.onnxruntime.configuration")
    of_cpu = settings.AutoQuantizationConfig.avx512_vnni if vnni else settings.AutoQuantizationConfig.avx2
    config = of_cpu(is_static=texts is not None, per_channel=True)
    quantiser = onnxruntime.ORTQuantizer.from_pretrained(export, file_name="model.onnx")
    ranges = None
    if texts is not None:
        data = _dataset(texts)
        ranges = quantiser.fit(
            dataset=data,
            calibration_config=settings.AutoCalibrationConfig.minmax(data),
            operators_to_quantize=config.operators_to_quantize,
            batch_size=1,
        )
    quantiser.quantize(save_dir=folder, quantization_config=config, calibration_tensors_range=ranges)
    next(folder.glob("*.onnx")).rename(folder / "model.onnx")


def _dataset(texts: Texts) -> Any:
    rows = [{"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)} for ids, mask in texts]
    return importlib.import_module("datasets").Dataset.from_list(
        [{name: values.tolist() for name, values in row.items()} for row in rows]
    )


def by_nncf(export: Path, folder: Path, texts: Texts) -> None:
    """NNCF's post-training quantisation of optimum's export, for OpenVINO."""
    nncf, ov = (importlib.import_module(name) for name in ("nncf", "openvino"))
    model = ov.Core().read_model(export / "model.onnx")
    names = {value.any_name for value in model.inputs}

    def feeds(text: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
        ids, mask = text[:, None]
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return {name: values for name, values in given.items() if name in names}

    made = nncf.quantize(
        model, nncf.Dataset(texts, feeds), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(texts)
    )
    ov.save_model(made, folder / "model.xml", compress_to_fp16=False)


def by_ctranslate2(checkpoint: str, folder: Path) -> None:
    """CTranslate2's own format."""
    converters: Any = importlib.import_module("ctranslate2.converters")
    converters.TransformersConverter(checkpoint).convert(str(folder), quantization="int8", force=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
