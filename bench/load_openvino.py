"""In a worker: a peer's graph, or the bare matrix product, in OpenVINO, tuned for latency; no copies in or out."""

from collections.abc import Callable, Mapping
from typing import Any

from bench.beside_graphs import feeds, pooled, product
from exporter.measure.protocol import Embed, Pooled
from poolfold.sessions.openvino import load_library

openvino = load_library()  # without its telemetry


def load(path: str, precision: str, threads: int) -> Pooled:
    """A graph that gives `last_hidden_state`; `precision` is OpenVINO's inference precision, `f32` or `bf16`."""
    names, infer = _compiled(path, precision, threads)
    return pooled(lambda ids, mask: infer(feeds(names, ids, mask))["last_hidden_state"])


def load_product(path: str, hidden: int, precision: str, threads: int) -> Embed:
    """The matrix products of `beside_graphs.write_graph`."""
    _, infer = _compiled(path, precision, threads)
    return product(hidden, lambda rows: infer({"rows": rows})[0])


def _compiled(path: str, precision: str, threads: int) -> tuple[set[str], Callable[[Mapping[str, Any]], Any]]:
    """The graph's input names, and what runs it: arrays by name -> arrays by name or place, until the next run."""
    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(core.read_model(path), "CPU", settings)
    request = compiled.create_infer_request()
    names = {value.any_name for value in compiled.inputs}
    return names, lambda arrays: request.infer(arrays, share_inputs=True, share_outputs=True)
