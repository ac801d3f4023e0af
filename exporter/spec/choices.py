"""The user's options checked against the model: strategies, dimensions, precisions of each target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from exporter.spec.description import embedding_dim
from exporter.spec.model import DType, ModelSpec
from exporter.spec.names import TRAINED
from graphs.pooling.head import Cut, Dense, Head, cut_head
from graphs.pooling.strategy import PoolingMode, Strategy, parse_strategy, strategy_name
from poolfold.errors import CheckpointError, InputError
from poolfold.sessions import targets
from poolfold.sessions.targets import find_target


def choose_strategies(spec: ModelSpec, names: Sequence[str]) -> tuple[Strategy, ...]:
    """The strategies of names that `read_pooling` gave; `trained` is what the checkpoint says. Twice counts once.

    Raises:
        CheckpointError: `trained` was asked for, and the checkpoint does not say.
        InputError: one whose vectors the checkpoint's dense layers cannot take.
    """
    strategies: list[Strategy] = []
    for name in names:
        if name == TRAINED and spec.trained is None:
            raise CheckpointError(
                f"{spec.source.name} does not say which pooling it was trained with: it has no modules.json. "
                f"Name one with --pooling: {', '.join(PoolingMode)}."
            )
        strategy = spec.trained if name == TRAINED and spec.trained else parse_strategy(name)
        _require_head_fits(spec, strategy)
        if strategy not in strategies:
            strategies.append(strategy)
    return tuple(strategies)


def _require_head_fits(spec: ModelSpec, strategy: Strategy) -> None:
    """A dense layer takes as many values as the trained pooling gives, and no other number."""
    dense = next((part for part in spec.head if isinstance(part, Dense)), None)
    got = len(strategy) * spec.hidden_size
    if dense is not None and dense.weight.shape[1] != got:
        raise InputError(
            f"--pooling {strategy_name(strategy)} gives {got} values, and the checkpoint's dense layer takes "
            f"{dense.weight.shape[1]}. Choose a strategy with that many values, such as "
            f"{strategy_name(spec.trained or strategy)}."
        )


def choose_head(spec: ModelSpec, strategies: Sequence[Strategy], cut: Cut) -> Head:
    """The checkpoint's head, cut to `--dimensions` after everything else.

    Behind a Normalize what is left is normalised again, as those who train Matryoshka models mean it. A cut that the
    checkpoint itself asks for (`truncate_dim`) stays as sentence-transformers does it: its vectors are the reference.

    Raises:
        InputError: more dimensions than the vectors have.
    """
    if cut.dimensions is None:
        return spec.head
    least = min(embedding_dim(spec, strategy, spec.head) for strategy in strategies)
    if cut.dimensions > least:
        raise InputError(f"--dimensions {cut.dimensions} is more than the {least} values that a vector has.")
    return cut_head(spec.head, cut)


def target_dtypes(names: Sequence[str], dtypes: Sequence[DType]) -> Mapping[str, tuple[DType, ...]]:
    """Share the precisions out: each target takes those that it has.

    Graphs in fp32 and fp16 are made for every target, and checked in ONNX Runtime.

    Raises:
        InputError: a target that has none of them, or a precision that only a target not asked for has.
    """
    for dtype in dtypes:
        able = [target.name for target in targets.TARGETS if dtype in target.dtypes]
        if not dtype.runs_everywhere and not set(able) & set(names):
            raise InputError(
                f"--dtype {dtype} needs --target {' or '.join(able)}: no other target computes in it. Add --target "
                f"{able[0]}."
            )
    shares = {name: tuple(d for d in dtypes if d in find_target(name).dtypes) for name in names}
    for name, share in shares.items():
        if not share:
            target = find_target(name)
            raise InputError(
                f"--target {name} needs --dtype {either(target.dtypes)}: {target.why}. Add --dtype {target.dtypes[0]}."
            )
    return shares


def either(names: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


_LAST = frozenset({PoolingMode.LASTTOKEN})
_BEHIND = _LAST | {PoolingMode.CLS, PoolingMode.MEAN, PoolingMode.MAX, PoolingMode.MEAN_SQRT_LEN_TOKENS}


def behind_prompts(strategies: Sequence[Strategy], *, include_prompt: bool) -> tuple[Strategy, ...]:
    """The strategies that read nothing of a prompt's own tokens, nor count them, so that it can be folded."""
    return tuple(strategy for strategy in strategies if set(strategy) <= (_LAST if include_prompt else _BEHIND))


def reads_prompts(strategies: Sequence[Strategy]) -> str:
    """Why no prompt can be folded for these."""
    return f"the pooling {', '.join(strategy_name(strategy) for strategy in strategies)} reads the prompt's own tokens"


def starts_behind_prompts(targets: Sequence[str], dtypes: Sequence[DType]) -> bool:
    """Whether any graph can start behind a folded prompt: of fp32, or of int8 for a CPU."""
    on_cpu = [share for name, share in target_dtypes(targets, dtypes).items() if not find_target(name).has_engine_files]
    return DType.FP32 in {d.of_graph for d in dtypes} or any(DType.INT8 in share for share in on_cpu)


def require_foldable(
    prompts: Mapping[str, str],
    spec: ModelSpec,
    strategies: Sequence[Strategy],
    targets: Sequence[str],
    dtypes: Sequence[DType],
) -> None:
    """Refuse prompts to fold of which it is known before any work that they cannot be; causal or not shows later.

    Raises:
        InputError: a name that the model has for another prompt, no fp32 graph, or a pooling that reads the prompt.
    """
    own = spec.text.prompts
    for name, text in prompts.items():
        if own.get(name, text) != text:
            raise InputError(
                f"--fold-prompt {name} is {text!r}, and the model's own prompt of that name is {own[name]!r}. Give "
                "yours another name."
            )
    if not prompts:
        return
    name = next(iter(prompts))
    if not starts_behind_prompts(targets, dtypes):
        raise InputError(
            f"--fold-prompt {name} needs --dtype fp32 or bf16, or int8 for a CPU: graphs for engines do not start "
            "behind a prompt. Add one, or leave the prompt out."
        )
    if not behind_prompts(strategies, include_prompt=spec.text.include_prompt):
        raise InputError(
            f"--fold-prompt {name}: no prompt can be folded, as {reads_prompts(strategies)}. Leave it out."
        )
