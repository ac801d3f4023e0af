"""What a user's data asks of vectors: pairs with scores, retrieval, labelled texts, or texts alone.

A malformed row is an error that names its line; no row is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporter.compare.rows import SUFFIXES, Row, read_rows
from exporter.texts import read_texts
from poolfold.errors import InputError, TargetUnavailable

KINDS = ("pairs", "retrieval", "labels", "texts")
_FEWEST = 10
"""Units below which no interval says anything."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of texts, each with a score of how alike they are."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    scores: tuple[float, ...]

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text to embed."""
        return (*self.first, *self.second)


@dataclass(frozen=True)
class Retrieval:
    """Queries, documents, and which documents answer a query, in BEIR's layout.

    relevant: query -> document -> grade, 1 or more.
    """

    queries: Mapping[str, str]
    documents: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]

    @property
    def texts(self) -> tuple[str, ...]:
        """Every text to embed: queries, then documents."""
        return (*self.queries.values(), *self.documents.values())


@dataclass(frozen=True)
class Labelled:
    """Texts, each with a class."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Texts:
    """Texts and nothing else."""

    texts: tuple[str, ...]


Task = Pairs | Retrieval | Labelled | Texts

_COLUMNS = {
    "pairs": (("sentence1", "text1", "sentence_a", "first"), ("sentence2", "text2", "sentence_b", "second"),
              ("score", "similarity", "similarity_score")),
    "labels": (("text", "sentence", "title"), ("label", "labels", "class", "category")),
    "texts": (("text", "sentence"),),
}  # fmt: skip


def read_task(data: str, kind: str | None = None) -> Task:
    """Read what a user named with --data.

    Args:
        data: a file, a folder in BEIR's layout, or the id of a data set on the hub.
        kind: one of KINDS; None to recognise it by its columns.

    Raises:
        InputError: nothing there, columns that fit no kind, or a malformed row; names the line.
        TargetUnavailable: a format whose library is not installed.
    """
    path = Path(data).expanduser()
    if path.is_dir():
        return _enough(_beir(path), data)
    if path.suffix == ".txt" or (kind == "texts" and path.is_file() and path.suffix not in SUFFIXES):
        return _enough(Texts(tuple(text for text in read_texts(path) if text.strip())), data)
    if not path.exists() and path.suffix not in SUFFIXES:
        return _enough(_of_rows(_hub_rows(data), data, kind), data)
    return _enough(_of_rows(read_rows(path), data, kind), data)


def _enough(task: Task, data: str) -> Task:
    units = len(task.scores) if isinstance(task, Pairs) else len(task.texts)
    units = len(task.queries) if isinstance(task, Retrieval) else units
    if units < _FEWEST:
        what = {Pairs: "pairs", Retrieval: "queries", Labelled: "texts", Texts: "texts"}[type(task)]
        raise InputError(f"{data} has {units} {what}; expected {_FEWEST} at least, for an interval to say anything.")
    return task


def _of_rows(rows: Sequence[Row], data: str, kind: str | None) -> Task:
    if not rows:
        raise InputError(f"{data} has no rows; expected one row for each pair or text.")
    columns = set(rows[0].values)
    kinds = [name for name in _COLUMNS if kind in (None, name)]
    for name in kinds:
        named = [next((column for column in choice if column in columns), None) for choice in _COLUMNS[name]]
        if all(column is not None for column in named):
            return _read(name, rows, [str(column) for column in named])
    expected = "; ".join(f"{name}: {', '.join('|'.join(choice) for choice in _COLUMNS[name])}" for name in kinds)
    raise InputError(f"{data} has columns {', '.join(sorted(columns))}; expected {expected or kind}.")


def _read(kind: str, rows: Sequence[Row], columns: Sequence[str]) -> Task:
    texts = tuple(_text(row, columns[0]) for row in rows)
    if kind == "pairs":
        second = tuple(_text(row, columns[1]) for row in rows)
        return Pairs(texts, second, tuple(_number(row, columns[2]) for row in rows))
    if kind == "labels":
        return Labelled(texts, tuple(_label(row, columns[1]) for row in rows))
    return Texts(texts)


def _text(row: Row, column: str) -> str:
    value = row.values.get(column)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{row.place}: {column} is {value!r}; expected a text. Mend the row, or take it out.")
    return value


def _number(row: Row, column: str) -> float:
    value = row.values.get(column)
    try:
        number = float(value)  # type: ignore[arg-type]  # whatever it is, it is tried
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{row.place}: {column} is {value!r}; expected a number. Mend the row, or take it out.")
    return number


def _label(row: Row, column: str) -> str:
    value = row.values.get(column)
    if value is None or (isinstance(value, str) and not value.strip()):
        raise InputError(f"{row.place}: {column} is {value!r}; expected a class. Mend the row, or take it out.")
    return str(value)


def _beir(folder: Path) -> Retrieval:
    """corpus.jsonl, queries.jsonl, and qrels/test.tsv or qrels.tsv."""
    judged = next((p for p in (folder / "qrels" / "test.tsv", folder / "qrels.tsv") if p.is_file()), None)
    if judged is None:
        raise InputError(f"{folder} has no qrels/test.tsv and no qrels.tsv; expected BEIR's layout.")
    documents = _by_id(folder / "corpus.jsonl", title=True)
    queries = _by_id(folder / "queries.jsonl", title=False)
    relevant: dict[str, dict[str, int]] = {}
    for row in read_rows(judged):
        missing = [name for name in ("query-id", "corpus-id", "score") if name not in row.values]
        if missing:
            raise InputError(f"{row.place}: no column {missing[0]}; expected query-id, corpus-id, score.")
        query, document = str(row.values["query-id"]), str(row.values["corpus-id"])
        for what, name, known in (("query", query, queries), ("document", document, documents)):
            if name not in known:
                raise InputError(f"{row.place}: no {what} {name!r} in {folder}. Mend the row, or take it out.")
        grade = _number(row, "score")
        if grade > 0:
            relevant.setdefault(query, {})[document] = int(grade)
    asked = {query: text for query, text in queries.items() if query in relevant}
    if not asked:
        raise InputError(f"{judged} names no relevant document; expected scores of 1 or more.")
    return Retrieval(asked, documents, relevant)


def _by_id(path: Path, *, title: bool) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in read_rows(path):
        name = row.values.get("_id")
        if not isinstance(name, str) or name in found:
            raise InputError(f"{row.place}: _id is {name!r}; expected a text that no other row has.")
        text = _text(row, "text")
        head = row.values.get("title")
        found[name] = f"{head} {text}" if title and isinstance(head, str) and head.strip() else text
    return found


def _hub_rows(name: str) -> tuple[Row, ...]:
    """The test split of a data set on the hub, or its only one."""
    if name.count("/") != 1:
        raise InputError(
            f"{name} does not exist. Expected a file of .txt, {', '.join(SUFFIXES)}, a folder in BEIR's layout, or the "
            "id of a data set on the hub, OWNER/NAME."
        )
    try:
        import datasets
    except ImportError as error:
        raise TargetUnavailable(f"{name} is read with datasets: pip install 'poolfold[compare]'") from error
    try:
        splits: Any = datasets.load_dataset(name)
    except Exception as error:  # it has no base class of its own, and wraps what its file systems raise
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"the data set {name} cannot be read from the hub: {first}") from error
    split = "test" if "test" in splits else next(iter(splits))
    return tuple(Row(f"{name} {split}, row {number}", values) for number, values in enumerate(splits[split], start=1))
