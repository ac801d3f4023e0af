"""What a user named with --data -> a task. A malformed row is an error that names its line; no row is dropped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.comparison.tasks import UNITS, Groups, Labelled, Pairs, Retrieval, Task, Texts
from exporter.host.rows import SUFFIXES, Row, read_rows
from exporter.host.text_file import read_texts
from poolfold.errors import InputError, TargetUnavailable

KINDS = ("pairs", "retrieval", "labels", "texts")
GROUPS = ("language", "lang", "domain", "genre", "subset")
"""Columns by which quality is broken down."""

_FEWEST = 10
"""Units below which no interval says anything."""
_COLUMNS = {
    "pairs": (("sentence1", "text1", "sentence_a", "first"), ("sentence2", "text2", "sentence_b", "second"),
              ("score", "similarity", "similarity_score")),
    "labels": (("text", "sentence", "title"), ("label", "labels", "class", "category")),
    "texts": (("text", "sentence"),),
}  # fmt: skip


def read_task(data: str, kind: str | None = None, file_format: str | None = None, columns: Sequence[str] = ()) -> Task:
    """Read what a user named with --data.

    Args:
        data: a file, a folder in BEIR's layout, or the id of a data set on the hub.
        kind: one of KINDS; None to recognise it by its columns.
        file_format: one of FORMATS, or `txt`; None for what the suffix says.
        columns: the columns that a kind needs, in its order: both texts and the score, a text and its label, a text.
            None named: the usual names.

    Raises:
        InputError: nothing there, columns that fit no kind, or a malformed row; names the line.
        TargetUnavailable: a format whose library is not installed.
    """
    path = Path(data).expanduser()
    task = _read(path, data, kind, file_format, columns)
    if len(task.units) < _FEWEST:
        raise InputError(
            f"{data} has {len(task.units)} {UNITS[type(task)]}; expected {_FEWEST} at least, for an interval to say "
            "anything."
        )
    return task


def _read(path: Path, data: str, kind: str | None, file_format: str | None, columns: Sequence[str]) -> Task:
    if path.is_dir() or kind == "retrieval":
        if not path.is_dir() or kind not in (None, "retrieval"):
            if kind == "retrieval":
                raise InputError(
                    f"{data} is not a folder; --kind retrieval reads a folder in BEIR's layout: corpus.jsonl, "
                    "queries.jsonl and qrels/. Name such a folder, or leave --kind out."
                )
            raise InputError(f"{data} is a folder; --kind {kind} reads a file. Name one, or leave --kind out.")
        return _beir(path)
    if (file_format or path.suffix) in ("txt", ".txt"):
        if kind not in (None, "texts"):
            raise InputError(f"{data} holds bare texts, one a line; --kind {kind} needs columns. Give a table of them.")
        return _bare(path)
    if not path.exists() and path.suffix not in SUFFIXES:
        return _of_rows(_hub_rows(data), data, kind, columns)
    return _of_rows(read_rows(path, file_format), data, kind, columns)


def _bare(path: Path) -> Texts:
    texts = read_texts(path)
    empty = next((number for number, text in enumerate(texts, start=1) if not text.strip()), None)
    if empty is not None:
        raise InputError(f"{path}, line {empty}: it is empty; expected a text. Mend the line, or take it out.")
    return Texts(texts)


def _of_rows(rows: Sequence[Row], data: str, kind: str | None, named: Sequence[str]) -> Task:
    if not rows:
        raise InputError(f"{data} has no rows; expected one for each pair or text.")
    # Of every row, not of the first: a column that only it lacks is its error, not the file's.
    columns = dict.fromkeys(column for row in rows for column in row.values)
    kinds = [name for name in _COLUMNS if kind in (None, name)]
    if named:
        return _task(_kind_of(named, kinds, columns, data), rows, named, _groups(rows, columns))
    for name in kinds:
        usual = [next((column for column in choice if column in columns), None) for choice in _COLUMNS[name]]
        if all(column is not None for column in usual):
            return _task(name, rows, [str(column) for column in usual], _groups(rows, columns))
    expected = "; ".join(f"{name}: {', '.join('|'.join(choice) for choice in _COLUMNS[name])}" for name in kinds)
    raise InputError(
        f"{data} has columns {', '.join(sorted(columns))}; expected {expected}. Name others with --columns."
    )


def _kind_of(named: Sequence[str], kinds: Sequence[str], columns: Mapping[str, None], data: str) -> str:
    """The kind that needs as many columns as were named."""
    absent = [name for name in named if name not in columns]
    if absent:
        raise InputError(f"{data} has no column {', '.join(absent)}; it has {', '.join(sorted(columns))}.")
    for kind in kinds:
        if len(_COLUMNS[kind]) == len(named):
            return kind
    expected = ", ".join(f"{len(_COLUMNS[kind])} for {kind}" for kind in kinds)
    raise InputError(f"--columns names {len(named)}; expected {expected}.")


def _groups(rows: Sequence[Row], columns: Mapping[str, None]) -> Groups:
    return {name: tuple(str(row.values.get(name) or "not said") for row in rows) for name in GROUPS if name in columns}


def _task(kind: str, rows: Sequence[Row], columns: Sequence[str], groups: Groups) -> Task:
    texts = tuple(_text(row, columns[0]) for row in rows)
    if kind == "pairs":
        second = tuple(_text(row, columns[1]) for row in rows)
        return Pairs(texts, second, tuple(_number(row, columns[2]) for row in rows), groups)
    if kind == "labels":
        return Labelled(texts, tuple(_label(row, columns[1]) for row in rows), groups)
    return Texts(texts, groups)


def _text(row: Row, column: str) -> str:
    value = row.values.get(column)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{row.place}: {column} is {value!r}; expected a text. Mend the row, or take it out.")
    return value


def _number(row: Row, column: str) -> float:
    value = row.values.get(column)
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # whatever it is
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{row.place}: {column} is {value!r}; expected a number. Mend the row, or take it out.")
    return number


def _label(row: Row, column: str) -> str:
    value = row.values.get(column)
    if value is None or isinstance(value, list | dict) or not str(value).strip():
        raise InputError(f"{row.place}: {column} is {value!r}; expected a class. Mend the row, or take it out.")
    return str(value)


def _beir(folder: Path) -> Retrieval:
    """corpus.jsonl, queries.jsonl, and qrels/test.tsv or qrels.tsv."""
    judged = next((p for p in (folder / "qrels" / "test.tsv", folder / "qrels.tsv") if p.is_file()), None)
    if judged is None:
        raise InputError(
            f"{folder} has no qrels/test.tsv and no qrels.tsv; expected BEIR's layout: those, corpus.jsonl and "
            "queries.jsonl."
        )
    documents = {name: text for name, (text, _) in _by_id(folder / "corpus.jsonl", title=True).items()}
    queries = _by_id(folder / "queries.jsonl", title=False)
    relevant: dict[str, dict[str, int]] = {}
    for row in read_rows(judged):
        missing = [name for name in ("query-id", "corpus-id", "score") if name not in row.values]
        if missing:
            raise InputError(f"{row.place}: no column {missing[0]}; expected query-id, corpus-id, score.")
        query, document = str(row.values["query-id"]), str(row.values["corpus-id"])
        for what, name, names in (("query", query, queries), ("document", document, documents)):
            if name not in names:
                raise InputError(f"{row.place}: no {what} {name!r} in {folder}. Mend the row, or take it out.")
        grade = _number(row, "score")
        if grade != int(grade):
            raise InputError(f"{row.place}: score is {grade}; expected a whole grade, 0 for what is not relevant.")
        if grade > 0:
            relevant.setdefault(query, {})[document] = int(grade)
    # BEIR keeps the queries of every split in one file, and measures those that the split judges.
    asked = [row for query, (_, row) in queries.items() if query in relevant]
    if not asked:
        raise InputError(f"{judged} names no relevant document; expected scores of 1 or more.")
    columns = dict.fromkeys(column for row in asked for column in row.values)
    texts = {query: text for query, (text, _) in queries.items() if query in relevant}
    return Retrieval(texts, documents, relevant, _groups(asked, columns))


def _by_id(path: Path, *, title: bool) -> dict[str, tuple[str, Row]]:
    texts: dict[str, tuple[str, Row]] = {}
    for row in read_rows(path):
        name = row.values.get("_id")
        if not isinstance(name, str) or name in texts:
            raise InputError(f"{row.place}: _id is {name!r}; expected a text that no other row has.")
        head = row.values.get("title")
        titled = title and isinstance(head, str) and head.strip()
        # A document may be a title alone.
        text = "" if titled and not row.values.get("text") else _text(row, "text")
        texts[name] = (f"{head} {text}".strip() if titled else text), row
    return texts


def _hub_rows(name: str) -> tuple[Row, ...]:
    """The test split of a data set on the hub, or its only one."""
    if name.count("/") != 1 or any(not part for part in name.split("/")):
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
        raise InputError(f"{name} is no file here, and as a data set of the hub it cannot be read: {first}") from error
    if "test" not in splits and len(splits) > 1:
        raise InputError(f"{name} has the splits {', '.join(splits)} and no test. Save the one you mean as a .jsonl.")
    split = "test" if "test" in splits else next(iter(splits))
    return tuple(Row(f"{name} {split}, row {number}", values) for number, values in enumerate(splits[split], start=1))
