"""What the fast tokenizer classes of transformers 4 did to a tokenizer.json that they loaded.

transformers 5 rebuilds a tokenizer from its class instead. Checkpoints were trained with the former.

Source: transformers 4.57.6, `AutoTokenizer.from_pretrained`, and `__init__` of the classes in tokenization_*_fast.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ends:
    """Tokens that a class puts around a text, `add_bos_token` and `add_eos_token` permitting, and its defaults."""

    bos: str
    eos: str
    add_bos: bool
    add_eos: bool = False


ENDS = {
    "LlamaTokenizer": Ends("<s>", "</s>", add_bos=True),
    "CodeLlamaTokenizer": Ends("<s>", "</s>", add_bos=True),
    "GemmaTokenizer": Ends("<bos>", "<eos>", add_bos=True),
    "CohereTokenizer": Ends("<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>", add_bos=True),
    "GPTNeoXTokenizer": Ends("<|endoftext|>", "<|endoftext|>", add_bos=False),
}
"""Classes that rebuilt the template of special tokens from their flags."""

_NORMALIZED = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_BERT = (
    "Bert ConvBert DistilBert DPRContextEncoder DPRQuestionEncoder DPRReader Electra Funnel LayoutLM Lxmert MobileBert "
    "Realm RetriBert SqueezeBert"
)
_BERT_BUT_CHINESE = "LayoutLMv2 MPNet RoFormer Splinter"

NORMALIZER_FLAGS: Mapping[str, Mapping[str, str]] = {
    **{f"{name}Tokenizer": _NORMALIZED for name in _BERT.split()},
    **{
        f"{name}Tokenizer": {flag: key for flag, key in _NORMALIZED.items() if flag != "tokenize_chinese_chars"}
        for name in _BERT_BUT_CHINESE.split()
    },
}
"""Classes that changed a BertNormalizer: flag of tokenizer_config.json -> key of the normalizer."""

PREFIX_SPACE_INSIDE = frozenset({"BloomTokenizer", "CohereTokenizer"})
"""Classes that set `add_prefix_space` in every step of a pre-tokenizer; others do where it is the only step."""

SPLITS_IN_PYTHON = frozenset({"RoFormerTokenizer"})
"""Classes that put a step of Python in place of the file's pre-tokenizer."""

_CLASS_OF_MODEL_TYPE = {
    model_type: name
    for name, model_types in {
        "LlamaTokenizer": "arcee deepseek_v2 deepseek_v3 diffllama ernie4_5 ernie4_5_moe jamba jetmoe llama "
        "llama4_text ministral mistral mistral3 mixtral persimmon phi3 phimoe zamba zamba2",
        "CodeLlamaTokenizer": "code_llama",
        "GemmaTokenizer": "gemma gemma2 gemma3 gemma3_text gemma3n gemma3n_text recurrent_gemma t5gemma",
        "CohereTokenizer": "cohere cohere2",
        "GPTNeoXTokenizer": "falcon_mamba gpt_neox mamba mamba2 mpt olmo olmo2 olmoe rwkv stablelm xlstm",
        "BertTokenizer": "bert ernie megatron-bert nezha visual_bert",
        "ConvBertTokenizer": "convbert",
        "DistilBertTokenizer": "distilbert",
        "DPRQuestionEncoderTokenizer": "dpr",
        "ElectraTokenizer": "electra",
        "FunnelTokenizer": "funnel",
        "LayoutLMTokenizer": "layoutlm",
        "LxmertTokenizer": "lxmert",
        "MobileBertTokenizer": "mobilebert",
        "MPNetTokenizer": "mpnet",
        "RoFormerTokenizer": "roformer",
        "SplinterTokenizer": "splinter",
        "SqueezeBertTokenizer": "squeezebert",
        "BloomTokenizer": "bloom",
    }.items()
    for model_type in model_types.split()
}


def class_name(tokenizer_config: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The class that transformers 4 took, without `Fast`; "" for one that changed nothing.

    Args:
        tokenizer_config: tokenizer_config.json.
        config: config.json.
    """
    named = tokenizer_config.get("tokenizer_class") or config.get("tokenizer_class")
    named = named or _CLASS_OF_MODEL_TYPE.get(str(config.get("model_type")), "")
    return str(named).removesuffix("Fast")
