"""config.pbtxt of each model. Text: Triton reads protobuf's text format, and so needs no library here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

TEXT, EMBEDDING = "text", "embedding"
MOST = 64
"""Texts that Triton gives a model at once."""
_DELAY_US = 0
"""Whatever waits forms the next batch; waiting for company only costs time."""


def python_model(
    name: str,
    inputs: Mapping[str, tuple[str, int]],
    outputs: Mapping[str, tuple[str, int]],
    parameters: Mapping[str, object],
    instances: int,
) -> str:
    """A model of the Python backend.

    Args:
        name: the model's.
        inputs, outputs: type and values of each, of a row.
        parameters: that the model reads.
        instances: processes, each with the model.
    """
    entries = [
        f"{{ key: {_quoted(key)} value {{ string_value: {_quoted(value)} }} }}" for key, value in parameters.items()
    ]
    return _lines(
        f"name: {_quoted(name)}",
        'backend: "python"',
        f"max_batch_size: {MOST}",
        *_tensors("input", inputs),
        *_tensors("output", outputs),
        f"dynamic_batching {{ max_queue_delay_microseconds: {_DELAY_US} }}",
        f"instance_group [ {{ kind: KIND_CPU count: {instances} }} ]",
        f"parameters [ {', '.join(entries)} ]",
    )


def native_model(name: str, backend: str, file: str, output: str, dim: int, most: int) -> str:
    """A graph or an engine: ids and mask in, vector out.

    Args:
        name: the model's.
        backend: `onnxruntime` or `tensorrt`.
        file: in the version's folder.
        output: the graph's.
        dim: values of a vector.
        most: rows that it takes at once.
    """
    platform = {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}[backend]
    ids = {"input_ids": ("TYPE_INT64", -1), "attention_mask": ("TYPE_INT64", -1)}
    return _lines(
        f"name: {_quoted(name)}",
        f"platform: {_quoted(platform)}",
        f"default_model_filename: {_quoted(file)}",
        f"max_batch_size: {most}",
        *_tensors("input", ids),
        *_tensors("output", {output: ("TYPE_FP32", dim)}),
        # The tokeniser's step gives whole batches of one width; Triton cannot join those of several.
        "instance_group [ { kind: KIND_GPU count: 1 } ]",
    )


def ensemble(name: str, tokens: str, graph: str, output: str, dim: int) -> str:
    """Texts through the tokeniser's model and the graph's."""
    return _lines(
        f"name: {_quoted(name)}",
        'platform: "ensemble"',
        f"max_batch_size: {MOST}",
        *_tensors("input", {TEXT: ("TYPE_STRING", 1)}),
        *_tensors("output", {EMBEDDING: ("TYPE_FP32", dim)}),
        "ensemble_scheduling { step [",
        _step(tokens, {TEXT: TEXT}, {"input_ids": "ids", "attention_mask": "mask"}) + ",",
        _step(graph, {"input_ids": "ids", "attention_mask": "mask"}, {output: EMBEDDING}),
        "] }",
    )


def _step(model: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    maps = [
        *(f"input_map {{ key: {_quoted(key)} value: {_quoted(value)} }}" for key, value in inputs.items()),
        *(f"output_map {{ key: {_quoted(key)} value: {_quoted(value)} }}" for key, value in outputs.items()),
    ]
    return f"{{ model_name: {_quoted(model)} model_version: -1 {' '.join(maps)} }}"


def _tensors(kind: str, tensors: Mapping[str, tuple[str, int]]) -> Sequence[str]:
    return [
        f"{kind} [ {{ name: {_quoted(name)} data_type: {type_} dims: [ {size} ] }} ]"
        for name, (type_, size) in tensors.items()
    ]


def _quoted(value: object) -> str:
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"
