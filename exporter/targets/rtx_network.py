"""A TensorRT-RTX network from an ONNX graph, and how it is to be built. Knows no engine and no file but the graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporter.targets import rtx_library
from poolfold.errors import CheckFailed, InputError
from poolfold.manifest import Profile

OUTPUT = "sentence_embedding"
POSITIONS = "token_positions"

# What the library targets by default, spelled out so that the manifest says what was asked for.
_COMPUTE_CAPABILITIES = ("SM80", "SM86", "SM89", "SM120")


def check_profiles(profiles: Sequence[Profile]) -> None:
    """Require at least one profile, and 1 <= min <= opt <= max of every range.

    Raises:
        InputError: otherwise.
    """
    if not profiles:
        raise InputError("no optimisation profile was given; expected at least one. Use --batch and --seq-len.")
    for profile in profiles:
        for flag, r in (("--batch", profile.batch), ("--seq-len", profile.seq_len)):
            if not 1 <= r.min <= r.opt <= r.max:
                raise InputError(f"{flag} {r.min}:{r.opt}:{r.max} does not rise; expected 1 <= MIN <= OPT <= MAX.")


def parse(trt: Any, network: Any, graph: Path) -> Any:
    """Parse a graph into a network, with its external data.

    Returns:
        The parser, which owns the weights: keep it until the engine is built.

    Raises:
        InputError: no such file, not an ONNX graph, or one with operators that the parser does not take.
    """
    if not graph.is_file():
        raise InputError(f"{graph} does not exist; expected an ONNX graph. Export the model again.")
    parser = trt.OnnxParser(network, rtx_library.log())
    if not parser.parse_from_file(str(graph)):
        reasons = "; ".join(_reason(parser.get_error(index)) for index in range(parser.num_errors))
        raise InputError(
            f"TensorRT-RTX {trt.__version__} cannot parse {graph}: {reasons or rtx_library.errors()}. Expected "
            "operators that its parser takes. Use target onnxruntime for this model."
        )
    return parser


def _reason(error: Any) -> str:
    """A parser error: the node by name, or by its place where it has none, the kind of error, and what it says."""
    node = f"node {error.node_name() or error.node()} ({error.node_operator()}): " if error.node_operator() else ""
    return f"{node}{error.code().name}: {error.desc().rstrip('.')}"


def check_types(trt: Any, network: Any, graph: Path) -> bool:
    """Require that the network has the graph's precisions. Returns whether the graph holds float16 weights.

    Raises:
        CheckFailed: another output than float32 `sentence_embedding`, a network that is not strongly typed, or one that
            computes nothing in float16 although the graph has float16 weights.
    """
    import onnx_ir as ir

    outputs = {network.get_output(i).name: network.get_output(i).dtype for i in range(network.num_outputs)}
    if outputs != {OUTPUT: trt.DataType.FLOAT}:
        got = ", ".join(f"{name} {dtype.name}" for name, dtype in outputs.items())
        raise CheckFailed(f"{graph} has outputs {got}; expected {OUTPUT} FLOAT alone. Export the model again.")
    has_half = any(value.dtype == ir.DataType.FLOAT16 for value in ir.load(graph).graph.initializers.values())
    layers = (network.get_layer(index) for index in range(network.num_layers))
    computed = (layer for layer in layers if layer.type != trt.LayerType.CONSTANT and layer.num_outputs)
    is_half = any(layer.get_output(0).dtype == trt.DataType.HALF for layer in computed)
    if not network.get_flag(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED):
        raise CheckFailed(
            f"the network made of {graph} is not strongly typed, so its precisions are the library's choice; expected "
            f"the graph's own. Install another version of TensorRT-RTX than {trt.__version__}."
        )
    if has_half and not is_half:
        raise CheckFailed(
            f"{graph} holds float16 weights and the network made of it computes nothing in float16; expected the "
            f"graph's own precisions. Install another version of TensorRT-RTX than {trt.__version__}."
        )
    return has_half


def configure(trt: Any, builder: Any, network: Any, profiles: Sequence[Profile]) -> Any:
    """How to build: the shapes, the GPUs, and full float32 where the graph says float32.

    Raises:
        InputError: the library refuses a profile.
    """
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.num_compute_capabilities = len(_COMPUTE_CAPABILITIES)
    for index, name in enumerate(_COMPUTE_CAPABILITIES):
        config.set_compute_capability(getattr(trt.ComputeCapability, name), index)
    inputs = [network.get_input(index).name for index in range(network.num_inputs)]
    for profile in profiles:
        shapes = builder.create_optimization_profile()
        batch, seq = profile.batch, profile.seq_len
        for name in inputs:
            sizes = ((batch.min, seq.min), (batch.opt, seq.opt), (batch.max, seq.max))
            if name == POSITIONS:  # a text has a token at least
                sizes = ((1, batch.min), (1, batch.opt * seq.opt), (1, batch.max * seq.max))
            shapes.set_shape(name, *sizes)
        if config.add_optimization_profile(shapes) < 0:
            raise InputError(f"TensorRT-RTX {trt.__version__} refuses the profile {profile}: {rtx_library.errors()}.")
    return config
