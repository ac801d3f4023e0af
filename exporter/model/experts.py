"""Mixtures of experts in a form that can be traced: every expert computes every token.

transformers sorts tokens by the expert that each is routed to, and multiplies groups whose sizes depend on the texts;
no graph can hold that. Knows transformers' experts; knows no single architecture.

Source: transformers, `integrations.moe`: `batched_mm_experts_forward`, with the same parts in the same order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS


@contextlib.contextmanager
def every_expert_computed() -> Iterator[None]:
    """Replace each of transformers' ways to compute experts while a model is traced."""
    ways: dict[str, Any] = ALL_EXPERTS_FUNCTIONS._global_mapping
    with mock.patch.dict(ways, dict.fromkeys(ways, _every_expert)):
        yield


def cost_of_experts(backbone: torch.nn.Module) -> str | None:
    """What a mixture of experts costs in a graph, in words; None where there is none."""
    experts = max((getattr(m, "num_experts", 0) for m in backbone.modules() if hasattr(m, "is_transposed")), default=0)
    if not experts:
        return None
    return (
        f"a mixture of experts: the graph computes all {experts} experts for every token, where PyTorch computes the "
        "few that each token is routed to. The vectors are the same; the work is not"
    )


def _every_expert(
    experts: Any, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    """The outputs of all experts, weighted by 0 where a token is not routed to one: two products of plain matrices.

    The weights come before the second product, whose sum then adds up the experts. OpenVINO 2026.4 fails on products of
    one matrix by many.

    Args:
        experts: the module that `use_experts_implementation` decorates.
        hidden_states: float32 [tokens, hidden].
        top_k_index: int64 [tokens, k], the experts of each token.
        top_k_weights: float32 [tokens, k].

    Returns:
        float32 [tokens, hidden].
    """
    if experts.has_post_expert_norm:
        raise NotImplementedError("a norm behind each expert")
    chosen = top_k_index.unsqueeze(-1) == torch.arange(experts.num_experts)
    share = (chosen * top_k_weights.unsqueeze(-1)).sum(dim=1)  # [tokens, experts]
    name = "gate_up_proj" if experts.has_gate else "up_proj"
    weight = getattr(experts, name)  # [experts, inner, hidden]
    if experts.is_transposed:
        weight = weight.transpose(1, 2)
    inner = torch.nn.functional.linear(hidden_states, weight.flatten(0, 1))
    if experts.has_bias:
        inner = inner + getattr(experts, f"{name}_bias").flatten()
    inner = inner.reshape(-1, weight.shape[1])  # [tokens * experts, inner]
    inner = experts._apply_gate(inner) if experts.has_gate else experts.act_fn(inner)
    inner = inner.reshape(-1, experts.num_experts, inner.shape[1])
    down = experts.down_proj if experts.is_transposed else experts.down_proj.transpose(1, 2)  # [experts, inner, hidden]
    outer: torch.Tensor = (inner * share.unsqueeze(-1)).flatten(1) @ down.flatten(0, 1)
    return outer + share @ experts.down_proj_bias if experts.has_bias else outer
