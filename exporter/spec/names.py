"""Names that a user writes: read in any case; where one is unknown, the one that was probably meant is said."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from graphs.pooling.strategy import PoolingMode, parse_strategy, strategy_name
from poolfold.errors import InputError

TRAINED = "trained"

DTYPE_WORDS = {
    **dict.fromkeys(("float32", "float", "f32", "single"), "fp32"),
    **dict.fromkeys(("float16", "half", "f16"), "fp16"),
    **dict.fromkeys(("bfloat16", "brain"), "bf16"),
    **dict.fromkeys(("i8", "q8", "quantized"), "int8"),
    **dict.fromkeys(("float8", "f8", "e4m3"), "fp8"),
}
TARGET_WORDS = {
    **dict.fromkeys(("onnx", "ort", "cpu", "cuda"), "onnxruntime"),
    **dict.fromkeys(("trt", "engine"), "tensorrt"),
    **dict.fromkeys(("tensorrt_rtx", "trt-rtx", "rtx"), "tensorrt-rtx"),
}
_POOLING_WORDS = {
    **dict.fromkeys(("average", "avg", "mean_tokens", "mean_pooling"), "mean"),
    **dict.fromkeys(("first", "cls_token", "cls_pooling", "first_token"), "cls"),
    **dict.fromkeys(("last", "last_token", "eos", "last-token"), "lasttoken"),
    **dict.fromkeys(("max_tokens", "max_pooling"), "max"),
    **dict.fromkeys(("weighted_mean", "weighted", "weightedmean_tokens"), "weightedmean"),
    **dict.fromkeys(("mean_sqrt_len", "sqrt"), "mean_sqrt_len_tokens"),
}
"""Other tools' words for a name; said in a message, and never taken."""


def read_name(text: str, names: Iterable[str], words: Mapping[str, str], option: str) -> str:
    """One of several names, in any case.

    Args:
        text: what the user wrote.
        names: what there is, in lower case.
        words: other tools' words for a name.
        option: what the name was given by, for a message.

    Raises:
        ValueError: another name.
    """
    known, small = list(names), text.strip().lower()
    if small in known:
        return small
    parts = [part.strip() for part in small.split(",")]
    if len(parts) > 1:
        repeated = " ".join(f"{option} {part}" for part in parts if part)
        raise ValueError(f"{text!r} is a list; expected one name each. Write: {repeated}")
    meant = words.get(small) or next(iter(difflib.get_close_matches(small, known, n=1)), None)
    hint = f" Did you mean {meant}?" if meant in known else ""
    raise ValueError(f"{text!r} is unknown; expected one of {', '.join(known)}.{hint}")


def read_pooling(text: str, option: str = "--pooling") -> str:
    """The name of a strategy: `trained`, a mode, or several modes joined by `+`.

    Raises:
        InputError: another name, or a mode twice.
    """
    names = (TRAINED, *PoolingMode)
    try:
        if "+" not in text:
            return read_name(text, names, _POOLING_WORDS, option)
        modes = [read_name(part, PoolingMode, _POOLING_WORDS, option) for part in text.split("+")]
        return strategy_name(parse_strategy("+".join(modes)))
    except ValueError as error:
        raise InputError(f"pooling {str(error).removeprefix('pooling ')}") from None
