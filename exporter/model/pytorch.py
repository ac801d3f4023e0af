"""The reference: a checkpoint's vectors in PyTorch, fp32, by which every artifact is judged.

Knows the strategies and heads as values; knows no ONNX, no engine and no tokenizer.
"""

from __future__ import annotations

import contextlib
import inspect
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from tokenizers import Tokenizer
from transformers import MODEL_MAPPING, AutoModel, PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutput

from exporter.host.quiet import quiet_transformers
from exporter.model.checkpoint.rope import plain_rope
from exporter.model.checkpoint.static_model import read_table
from exporter.model.checkpoint.transformer_config import ENCODERS, load_config
from exporter.model.checkpoint.weight_files import weight_files
from exporter.model.checkpoint.weight_names import common_prefix, projections, require_floats
from exporter.model.checkpoint.weights import stored_dtypes
from exporter.model.merge_adapter import merge_adapter
from exporter.spec.model import STATIC, ModelSpec
from graphs.pooling.head import Activation, Dense, Head, Normalize, Truncate
from graphs.pooling.strategy import PoolingMode, Strategy
from poolfold.errors import CheckpointError, InputError, first_line

_BUFFERS = ("position_ids", "token_type_ids", "inv_freq")
"""Older checkpoints store these beside the weights; models compute them."""


class StaticBackbone(torch.nn.Module):
    """A static model's token vectors, in the place of a transformer."""

    config = None

    def __init__(self, table: npt.NDArray[np.float32]) -> None:
        super().__init__()
        rows, dim = table.shape
        self.embedding = torch.nn.Embedding(rows, dim, _weight=torch.from_numpy(table), _freeze=True)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> BaseModelOutput:
        """int64 [batch, seq] twice -> token vectors, float32 [batch, seq, dim], zeros on padding."""
        kept = (attention_mask > 0).unsqueeze(-1)
        return BaseModelOutput(last_hidden_state=torch.where(kept, self.embedding(input_ids), 0.0))


def load_backbone(spec: ModelSpec) -> torch.nn.Module:
    """Load the transformer: fp32, for inference, `sdpa` attention where the model has it, no pooling layer.

    Raises:
        CheckpointError: transformers cannot load it, a weight is missing, misshapen or quantised, a projection follows,
            the file holds weights inside the model's modules that this transformers would ignore, or a vector depends
            on token types.
    """
    if spec.model_type == STATIC:
        return StaticBackbone(read_table(spec.transformer).vectors)
    config = load_config(spec.transformer, trust_remote_code=spec.trust.trust_remote_code)
    if (rope := plain_rope(config, spec.text.max_seq_length, spec.transformer)) is not None:
        config.rope_parameters = rope
    dtypes = stored_dtypes(spec.transformer, allow_pickle=spec.trust.allow_pickle)
    backbone, report = _load(spec, config, prefix="")
    own = [name for name, _ in backbone.named_parameters()]
    require_floats(spec.transformer, dtypes, set(own))
    if report["missing_keys"] and (prefix := common_prefix(spec.transformer, dtypes, set(own))):
        backbone, report = _load(spec, config, prefix=prefix)
    _check_report(backbone, report, spec)
    if spec.adapter is not None:
        backbone = merge_adapter(backbone.eval(), spec.adapter)
    backbone.config.use_cache = False
    backbone.eval().requires_grad_(False)
    if spec.token_types:
        _check_token_types(backbone, spec)
    return backbone  # type: ignore[no-any-return]


def _load(spec: ModelSpec, config: PreTrainedConfig, *, prefix: str) -> tuple[Any, dict[str, Any]]:
    """The transformer, and transformers' report on its weights, whose names begin with `prefix`."""
    files = weight_files(spec.transformer, allow_pickle=spec.trust.allow_pickle)
    encoder = ENCODERS.get(config.model_type)
    if encoder is None and type(config) not in MODEL_MAPPING and not spec.trust.trust_remote_code:
        raise CheckpointError(
            f"{spec.transformer} is a {config.model_type}, which in transformers is a part of a larger model and "
            "cannot be loaded by itself. Expected a model of text."
        )
    model_class: Any = AutoModel if encoder is None else getattr(transformers, encoder)
    try:
        with quiet_transformers(), _without_adapter(spec) as folder:
            backbone, report = model_class.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=files[0].suffix == ".safetensors",
                trust_remote_code=spec.trust.trust_remote_code,
                local_files_only=True,
                ignore_mismatched_sizes=True,  # they come back in the report, and are refused by name
                output_loading_info=True,
                key_mapping={f"^{re.escape(prefix)}": ""} if prefix else None,
                **_options(config, remote=spec.trust.trust_remote_code),
            )
    except (OSError, ValueError, RuntimeError, TypeError, ImportError, AttributeError, KeyError) as error:
        raise CheckpointError(
            f"{spec.transformer}: transformers cannot load this {spec.model_type}: {error}"
        ) from error
    return backbone, report


@contextlib.contextmanager
def _without_adapter(spec: ModelSpec) -> Iterator[Path]:
    """The transformer's folder, without the files of an adapter that transformers would load by itself."""
    if spec.adapter != spec.transformer:
        yield spec.transformer
        return
    with tempfile.TemporaryDirectory(prefix="poolfold-") as links:
        for path in spec.transformer.iterdir():
            if path.is_file() and not path.name.startswith("adapter_"):
                (Path(links) / path.name).symlink_to(path)
        yield Path(links)


def pool(hidden: torch.Tensor, attention_mask: torch.Tensor, strategy: Strategy) -> torch.Tensor:
    """Pool token vectors, as `graphs.pooling.strategy.pool`.

    Args:
        hidden: token vectors, float [batch, seq, hidden].
        attention_mask: int64 [batch, seq]; 1 marks a token, 2 one that the pooling leaves out.
        strategy: the modes to concatenate.

    Returns:
        float [batch, len(strategy) * hidden]; zeros in a row without a token.
    """
    mask = attention_mask == 1
    # Padding may hold anything, NaN included, so it is replaced and not multiplied by zero.
    tokens = hidden.masked_fill(~mask.unsqueeze(-1), 0.0)
    return torch.cat([_pool_mode(tokens, mask, attention_mask > 0, mode) for mode in strategy], dim=-1)


def apply_head(pooled: torch.Tensor, head: Head) -> torch.Tensor:
    """Apply the modules that follow the pooling.

    Args:
        pooled: float32 [batch, dim].
        head: the modules, in order.

    Returns:
        float32 [batch, dim of the last module].

    Raises:
        InputError: the first dense layer was made for another strategy's dimension.
    """
    for module in head:
        match module:
            case Dense():
                pooled = _dense(pooled, module)
            case Normalize():
                pooled = torch.nn.functional.normalize(pooled, p=2.0, dim=-1)
            case Truncate(dimensions):
                pooled = pooled[..., :dimensions]
    return pooled


class Reference:
    """A backbone, and the head that follows each pooling."""

    name = "PyTorch"
    described = "PyTorch fp32"

    def __init__(self, backbone: torch.nn.Module, head: Head) -> None:
        self._backbone = backbone
        self._head = head

    def embed(
        self,
        input_ids: npt.NDArray[np.int64],
        attention_mask: npt.NDArray[np.int64],
        strategies: Sequence[Strategy],
    ) -> dict[Strategy, npt.NDArray[np.float32]]:
        """Embed a batch with every strategy; the backbone runs once.

        Args:
            input_ids: int64 [batch, seq].
            attention_mask: int64 [batch, seq], 2 on tokens that the transformer sees and the pooling leaves out.
            strategies: what to return.

        Returns:
            float32 [batch, dim] by strategy.

        Raises:
            CheckpointError: the transformer itself fails on the batch.
        """
        mask = torch.tensor(attention_mask)
        with torch.inference_mode():
            hidden = _last_hidden_state(self._backbone, torch.tensor(input_ids), mask.clamp(max=1))
            return {strategy: apply_head(pool(hidden, mask, strategy), self._head).numpy() for strategy in strategies}


def _options(config: PreTrainedConfig, *, remote: bool) -> dict[str, Any]:
    """Arguments that not every model class takes."""
    model_class = MODEL_MAPPING.get(type(config), None)
    if not isinstance(model_class, type) or (remote and getattr(config, "auto_map", None)):
        return {}
    options: dict[str, Any] = {
        "attn_implementation": "sdpa" if getattr(model_class, "_supports_sdpa", False) else "eager"
    }
    if "add_pooling_layer" in inspect.signature(model_class.__init__).parameters:
        options["add_pooling_layer"] = False
    return options


def _check_report(backbone: torch.nn.Module, report: dict[str, Any], spec: ModelSpec) -> None:
    """Check that the backbone has its own weights, all of them, and that no other weights belong inside it."""
    # The pooling layer reads the last hidden state and writes nothing that is used here.
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise CheckpointError(
            f"{spec.transformer} lacks {len(missing)} weights of its {spec.model_type}, "
            f"such as {', '.join(missing[:3])}; they would be random. Check that config.json belongs to these weights."
        )
    if report["mismatched_keys"]:
        name, stored, expected = min(report["mismatched_keys"])
        raise CheckpointError(
            f"{spec.transformer} has {len(report['mismatched_keys'])} weights of another shape than its config.json "
            f"says, such as {name}: {list(stored)} instead of {list(expected)}. Take both from the same checkpoint."
        )
    if projected := projections(report["unexpected_keys"]):
        raise CheckpointError(
            f"{spec.transformer} ends in a projection ({', '.join(projected[:3])}), which a {spec.model_type} of "
            "transformers alone does not compute. Save the model by sentence-transformers, the projection as a Dense "
            "module behind the pooling, and export that folder."
        )
    ignored = sorted(name for name in report["unexpected_keys"] if _lies_inside(name, backbone))
    if ignored:
        raise CheckpointError(
            f"{spec.transformer} has {len(ignored)} weights that the {spec.model_type} of transformers does not "
            f"compute with, such as {', '.join(ignored[:3])}. Its vectors would differ from the author's."
        )


def _check_token_types(backbone: torch.nn.Module, spec: ModelSpec) -> None:
    """Check that the token types that the tokeniser gives a text may be left out, since the graph takes none.

    They may where all are 0 and that is the model's default. XLNet and Funnel mark a token by its type, and GPT-2 adds
    a vector to every token whose type is given.
    """
    parameters = inspect.signature(backbone.forward).parameters
    if "token_type_ids" not in parameters:
        return
    text = Tokenizer.from_str(spec.tokenizer_json).encode("a b")
    ids = torch.tensor([text.ids])
    with torch.inference_mode():
        without = _last_hidden_state(backbone, ids, torch.ones_like(ids))
        given = _last_hidden_state(backbone, ids, torch.ones_like(ids), token_type_ids=torch.tensor([text.type_ids]))
    if not torch.allclose(without, given, rtol=1e-5, atol=1e-5):
        raise CheckpointError(
            f"{spec.transformer} gives a text the token types {sorted(set(text.type_ids))}, and this {spec.model_type} "
            "gives other vectors with them than without; a graph of input_ids and attention_mask cannot take them. "
            "Such a checkpoint cannot be folded."
        )


def _last_hidden_state(
    backbone: torch.nn.Module, input_ids: torch.Tensor, attention_mask: torch.Tensor, **more: torch.Tensor
) -> torch.Tensor:
    """int64 [batch, seq] twice -> float32 [batch, seq, hidden]."""
    try:
        output = backbone(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **more)
    except Exception as error:  # transformers' models fail in many ways
        raise CheckpointError(
            f"transformers' {type(backbone).__name__} itself fails on input_ids {list(input_ids.shape)} "
            f"({type(error).__name__}: {first_line(error)}). Check that config.json belongs to these weights."
        ) from error
    hidden: torch.Tensor = output.last_hidden_state.float()
    return hidden


def _lies_inside(weight: str, backbone: torch.nn.Module) -> bool:
    """Whether a weight belongs to a module of the backbone: no head, no further layer, no stored buffer."""
    if weight.endswith(_BUFFERS):
        return False
    modules = dict(backbone.named_modules())
    path = weight.removeprefix(f"{getattr(backbone, 'base_model_prefix', '')}.").split(".")[:-1]
    owner = next((modules[name] for i in range(len(path), 0, -1) if (name := ".".join(path[:i])) in modules), None)
    return owner is not None and not isinstance(owner, torch.nn.ModuleList)


def _pool_mode(tokens: torch.Tensor, mask: torch.Tensor, present: torch.Tensor, mode: PoolingMode) -> torch.Tensor:
    """One mode; `tokens` is float [batch, seq, hidden], zeros where bool `mask` [batch, seq] is false.

    `present` is true on every token of the text, those that are left out included.
    """
    count = mask.sum(dim=1, keepdim=True).clamp(min=1).to(tokens.dtype)  # [batch, 1]
    positions = torch.arange(mask.shape[1])
    match mode:
        case PoolingMode.CLS:
            return tokens[torch.arange(len(tokens)), mask.int().argmax(dim=1)]
        case PoolingMode.LASTTOKEN:
            return tokens[torch.arange(len(tokens)), (mask * positions).argmax(dim=1)]
        case PoolingMode.MAX:
            lowest = tokens.masked_fill(~mask.unsqueeze(-1), float("-inf")).amax(dim=1)
            return lowest.masked_fill(~mask.any(dim=1, keepdim=True), 0.0)
        case PoolingMode.MEAN:
            return tokens.sum(dim=1) / count
        case PoolingMode.MEAN_SQRT_LEN_TOKENS:
            return tokens.sum(dim=1) / count.sqrt()
        case PoolingMode.WEIGHTEDMEAN:
            first = present.int().argmax(dim=1)  # [batch]
            weights = ((positions - first.unsqueeze(1) + 1) * mask).to(tokens.dtype)  # [batch, seq]
            total = weights.sum(dim=1, keepdim=True).clamp(min=1)
            return (tokens * weights.unsqueeze(-1)).sum(dim=1) / total


def _dense(values: torch.Tensor, dense: Dense) -> torch.Tensor:
    """A dense layer on float32 [batch, in]."""
    width = dense.weight.shape[1]
    if values.shape[-1] != width:
        raise InputError(
            f"The dense layer takes {width} values, and this strategy gives {values.shape[-1]}. "
            "Choose a strategy of as many modes as the trained one."
        )
    bias = None if dense.bias is None else torch.from_numpy(dense.bias)
    output = _activate(torch.nn.functional.linear(values, torch.from_numpy(dense.weight), bias), dense.activation)
    if isinstance(dense.residual, np.ndarray):
        return output + torch.nn.functional.linear(values, torch.from_numpy(dense.residual))
    return output if dense.residual is None else output + values


def _activate(values: torch.Tensor, activation: Activation) -> torch.Tensor:
    match activation:
        case Activation.IDENTITY:
            return values
        case Activation.TANH:
            return torch.tanh(values)
        case Activation.SIGMOID:
            return torch.sigmoid(values)
        case Activation.RELU:
            return torch.relu(values)
        case Activation.GELU:
            return torch.nn.functional.gelu(values)
        case Activation.SILU:
            return torch.nn.functional.silu(values)
