"""What this machine can afford of a model: its memory before the weights are loaded, and what validation may take."""

from __future__ import annotations

from exporter.host.memory import available_bytes
from exporter.measure.one_form import LEAST_BYTES
from exporter.parity.effort import Effort
from exporter.parity.proof import Allowance
from exporter.pipeline.recipes import longest_switch
from exporter.spec.model import ModelSpec
from exporter.spec.options import Validation
from poolfold.errors import InputError

_LIBRARIES = 2**29
"""PyTorch and the others, in the process that reads the model and in its parent."""
_WEIGHT_BYTES = _SCORE_BYTES = 4
_USUAL_COPIES = 2
"""Of the weights, with files and sessions: PyTorch's and the encoder's; later ONNX Runtime's and the graph's."""


def require_memory(spec: ModelSpec) -> None:
    """Refuse a model that this machine cannot hold, before its weights are read.

    Raises:
        InputError: how much it takes, and how much there is.
    """
    need, available = needed_bytes(spec), available_bytes()
    if need > available:
        raise InputError(
            f"{spec.source.name} has {spec.parameters / 1e9:.1f} billion weights, which take at least "
            f"{need / 2**30:.1f} GiB in fp32; this machine has {available / 2**30:.1f} GiB to give. Free memory, raise "
            "the container's limit, or take a larger machine."
        )


def needed_bytes(spec: ModelSpec) -> int:
    """The least that an export holds at once, in PyTorch or in a session; files may come and go beside it."""
    return _LIBRARIES + _WEIGHT_BYTES * spec.parameters


def expected_candidates(spec: ModelSpec, strategies: int, effort: Effort) -> float:
    """How many candidates an export of the model will have, each by what it takes beside the reference."""
    # That one form serves a large model is measured later, of its graphs, and mostly so.
    return effort.of(strategies, one_form=_WEIGHT_BYTES * spec.parameters >= LEAST_BYTES)


def allowance(spec: ModelSpec, validation: Validation, candidates: float) -> Allowance:
    """What validation may take; `candidates` as there."""
    return Allowance(
        seconds=validation.seconds,
        length=validation.length,
        candidates=candidates,
        switch=longest_switch(spec.window),
        pair_bytes=spec.heads * _SCORE_BYTES,
        room=max(0, available_bytes() - _LIBRARIES - _USUAL_COPIES * _WEIGHT_BYTES * spec.parameters),
    )
