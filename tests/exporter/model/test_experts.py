import pytest
import torch
from transformers import GptOssConfig, MixtralConfig, Qwen3MoeConfig
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts
from transformers.models.mixtral.modeling_mixtral import MixtralExperts
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeExperts

from exporter.model.experts import cost_of_experts, every_expert_computed

SIZES = {"hidden_size": 8, "intermediate_size": 12, "moe_intermediate_size": 12, "num_local_experts": 5}
EXPERTS = [(Qwen3MoeExperts, Qwen3MoeConfig), (MixtralExperts, MixtralConfig), (GptOssExperts, GptOssConfig)]
"""Gated; another name for the same; transposed with biases and a gate of its own."""


def experts(kind, config):
    module = kind(config(**SIZES)).eval()
    module.config._experts_implementation = "batched_mm"
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    return module


def routed(tokens=7, k=2):
    torch.manual_seed(1)
    weights, indices = torch.randn(tokens, SIZES["num_local_experts"]).softmax(-1).topk(k)
    return torch.randn(tokens, SIZES["hidden_size"]), indices, weights


@pytest.mark.parametrize(("kind", "config"), EXPERTS)
def test_all_experts_give_what_the_chosen_give(kind, config):
    module = experts(kind, config)
    with torch.no_grad():
        expected = module(*routed())
        with every_expert_computed():
            torch.testing.assert_close(module(*routed()), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(module(*routed()), expected, rtol=0, atol=0)


def test_their_cost_is_said_and_only_theirs():
    assert "all 5 experts" in (cost_of_experts(torch.nn.Sequential(experts(*EXPERTS[0]))) or "")
    assert cost_of_experts(torch.nn.Linear(2, 2)) is None
