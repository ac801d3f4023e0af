"""Check the texts, ids and masks that a caller passes to an encoder. An InputError names the wrong value and a remedy.

Independent of tokenisers and sessions.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, Sized
from collections.abc import Set as AbstractSet
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from poolfold.errors import InputError
from poolfold.manifest import Model
from poolfold.tokenise import Input

Texts = str | Iterable[Input]
"""One text, or texts and pairs of texts in any order-keeping collection."""


def one_of(**given: object) -> Any:
    """What a caller gave by one of several names; None where it was none.

    Raises:
        InputError: it was given by two.
    """
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise InputError(f"the texts are given as {' and as '.join(names)}, which are one argument. Leave one out.")
    return given[names[0]] if names else None


def check_texts(texts: Iterable[Input]) -> tuple[Iterator[Input], int]:
    """The texts one by one, and how many there are; 0 where that shows only in the end, as of a generator.

    What can be read twice is checked whole before the first text is given, the rest as it is read.

    Raises:
        InputError: what is no list of texts although it can be iterated, such as a mapping, a table or a set; an item
            that is neither a str nor a pair of them.
    """
    if instead := _instead(texts):
        raise InputError(f"texts is a {type(texts).__name__}, {instead}")
    if not isinstance(texts, Iterable):
        raise InputError(f"texts is of type {type(texts).__name__}; expected a str or a list of them.")
    try:
        read = _checked(iter(texts))
    except TypeError as error:  # an array of no dimension is an Iterable, and cannot be iterated
        raise InputError(f"texts is a {type(texts).__name__} that is no list: {error}. Pass a list of str.") from None
    count = 0
    if isinstance(texts, Sized) and not isinstance(texts, Iterator):
        count = sum(1 for _ in read)
        read = _checked(iter(texts))
    return read, count


def check_batch_size(batch_size: object) -> int:
    """A batch size.

    Raises:
        InputError: no whole number, or one below 1.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise InputError(f"batch_size is {batch_size!r}; expected a whole number, 1 or more.")
    return int(batch_size)


def _checked(texts: Iterator[object]) -> Iterator[Input]:
    """The texts; raises InputError at the first that is none."""
    for index, text in enumerate(texts):
        if isinstance(text, str) or _is_pair(text):
            yield text
        else:
            raise InputError(f"text {index} is {_describe(text)}; expected str. {_remedy(text)}")


def _is_pair(item: object) -> TypeGuard[tuple[str, str]]:
    return type(item) is tuple and len(item) == 2 and all(isinstance(part, str) for part in item)


def _instead(texts: object) -> str | None:
    """Why a value is no list of texts, and what to pass instead; None for one that may be."""
    if isinstance(texts, Mapping):
        return "which gives its keys; expected a list of str. Pass list(texts.values())."
    if isinstance(texts, ItemsView):
        return "which gives each value with its key; expected a list of str. Pass list(texts.values())."
    # The keys of a dict are a set too, and have its order.
    if isinstance(texts, AbstractSet) and not isinstance(texts, Sequence | KeysView):
        return "which has no order; expected a list of str. Pass a list, such as sorted(texts)."
    if isinstance(texts, bytes | bytearray | memoryview):
        return "which gives numbers; expected a list of str. Pass [texts.decode()]."
    # pandas, polars, pyarrow, datasets: without an import of any.
    if any(hasattr(texts, name) for name in ("columns", "column_names")):
        return "a table, which gives no texts; expected a list of str. Pass one column as a list."
    return None


def _describe(item: object) -> str:
    """What an item is that is no str. A number is told in full: a missing value is often the float nan."""
    number = f" ({item!r})" if isinstance(item, int | float) else ""
    return f"of type {type(item).__name__}{number}"


def _remedy(item: object) -> str:
    if isinstance(item, bytes | bytearray):
        return "Decode it."
    if isinstance(item, Mapping):
        return "Pass the value that holds the text."
    if isinstance(item, Iterable):
        return "Pass one flat list of texts; two that are one input as a tuple of two."
    return "Drop it, or turn it into one."


def check_batch(
    input_ids: npt.ArrayLike, attention_mask: npt.ArrayLike, model: Model
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The batch as int64 [batch, seq] twice; batch may be 0.

    Raises:
        InputError: the arrays are not integers of one shape [batch, seq]; an id is outside the embedding table; a mask
            holds other values than 0 and 1 (and 2, where the pooling leaves the prompt out); a row has no token; or a
            row has more tokens than the model accepts.
    """
    ids = _matrix("input_ids", input_ids)
    mask = _matrix("attention_mask", attention_mask)
    if ids.shape != mask.shape:
        raise InputError(
            f"input_ids has shape {list(ids.shape)} and attention_mask {list(mask.shape)}; expected one [batch, seq]. "
            "Pass both as the tokeniser gave them."
        )
    batch, seq = ids.shape
    if batch:
        limit = model.text.max_seq_length
        if not 1 <= seq <= limit:
            raise InputError(
                f"input_ids has {seq} tokens a row; expected 1 to {limit}, this model's max_seq_length. "
                "Truncate it, or pass texts to encode, which truncates them."
            )
        _check_values("input_ids", ids, model.vocab_size, "the rows of the embedding table")
        if model.text.include_prompt:
            _check_values("attention_mask", mask, 2, "1 for a token and 0 for padding")
        else:
            _check_values("attention_mask", mask, 3, "1 for a token, 2 for one of the prompt and 0 for padding")
        empty = np.flatnonzero(~(mask == 1).any(axis=1))
        if empty.size:
            raise InputError(
                f"row {empty[0]} of attention_mask marks no token, and the embedding of nothing is undefined. "
                "Leave the row out, or mark its tokens with 1."
            )
    return np.ascontiguousarray(ids, dtype=np.int64), np.ascontiguousarray(mask, dtype=np.int64)


def _matrix(name: str, values: npt.ArrayLike) -> npt.NDArray[np.integer]:
    """An integer array [batch, seq], of any integer type."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} is not rectangular ({error}); expected [batch, seq]. Pad its rows.") from None
    if array.ndim != 2:
        raise InputError(f"{name} has shape {list(array.shape)}; expected [batch, seq]. For a single row, pass [row].")
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{name} is of type {array.dtype}; expected integers. Convert it with .astype(np.int64).")
    return array


def _check_values(name: str, array: npt.NDArray[np.integer], stop: int, meaning: str) -> None:
    """Require every value in [0, stop)."""
    wrong = np.argwhere((array < 0) | (array >= stop))
    if wrong.size:
        row, column = wrong[0]
        raise InputError(
            f"{name} holds {array[row, column]} in row {row}, column {column}; expected [0, {stop}): {meaning}. "
            "Use this model's own tokeniser."
        )
