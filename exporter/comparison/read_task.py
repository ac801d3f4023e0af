"""What a user named with --data -> a task. A malformed row is an error that names its line; no row is dropped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exporter.comparison.tasks import UNITS, Groups, Labelled, Pairs, Retrieval, Task, Texts, Triplets, counted
from exporter.host.rows import SUFFIXES, Row, read_rows
from exporter.host.text_file import read_texts
from poolfold.errors import InputError, TargetUnavailable, how_to_install

KINDS = ("pairs", "retrieval", "triplets", "labels", "texts")
GROUPS = ("language", "lang", "domain", "genre", "subset")
"""Columns by which quality is broken down."""

_FEWEST = 10
"""Units below which no interval says anything."""
_FIRST = ("sentence1", "text1", "sentence_a", "first", "anchor", "query", "question")
_SECOND = ("sentence2", "text2", "sentence_b", "second", "positive", "pos", "answer", "document", "passage", "context")
_JUDGED = ("label", "labels", "relevance", "relevant", "is_duplicate", "rating", "grade")
"""Columns beside two texts by which some of them may not belong together: such a table is no retrieval set unasked."""
_COLUMNS = {
    "pairs": (_FIRST, _SECOND, ("score", "similarity", "similarity_score")),
    "triplets": (_FIRST, _SECOND, ("negative", "neg", "hard_negative", "sentence3", "text3")),
    "retrieval": (_FIRST, _SECOND),
    "labels": (("text", "sentence", "title"), ("label", "labels", "class", "category")),
    "texts": (("text", "sentence"),),
}  # fmt: skip
"""The usual names of each kind's columns; a table is of the first kind whose columns it has."""
_EXAMPLES = {
    "pairs": "sentence1, sentence2, score", "triplets": "anchor, positive, negative", "retrieval": "question, answer",
    "labels": "text, label", "texts": "text",
}  # fmt: skip


def read_task(data: str, kind: str | None = None, file_format: str | None = None, columns: Sequence[str] = ()) -> Task:
    """Read what a user named with --data.

    Args:
        data: a file, a folder in BEIR's layout, or the id of a data set on the hub.
        kind: one of KINDS; None to recognise it by its columns. `retrieval` is a folder, or a table of questions and
            their answers.
        file_format: one of FORMATS, or `txt`; None for what the suffix says.
        columns: the columns that a kind needs, in its order: both texts and the score; anchor, positive, negative; a
            question and its answer; a text and its label; a text. None named: the usual names.

    Raises:
        InputError: nothing there, columns that fit no kind, or a malformed row; names the line.
        TargetUnavailable: a format whose library is not installed.
    """
    path = Path(data).expanduser()
    task = _read(path, data, kind, file_format, columns)
    if len(task.units) < _FEWEST:
        raise InputError(
            f"{data} has {counted(len(task.units), UNITS[type(task)])}; expected {_FEWEST} at least, for an interval "
            "to say anything."
        )
    return task


def _read(path: Path, data: str, kind: str | None, file_format: str | None, columns: Sequence[str]) -> Task:
    if path.is_dir():
        if kind not in (None, "retrieval"):
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
    groups = _groups(rows, columns)
    if named:
        return _task(_kind_of(named, kinds, columns, rows, data), rows, named, groups, data)
    judged = [column for column in columns if column in _JUDGED]
    for name in kinds:
        if name == "retrieval" and judged and kind is None:
            continue
        usual = [next((column for column in choice if column in columns), None) for choice in _COLUMNS[name]]
        if all(column is not None for column in usual):
            return _task(name, rows, [str(column) for column in usual], groups, data)
    expected = "; ".join(f"{_EXAMPLES[name]} ({name})" for name in kinds)
    hint = f" If {judged[0]} is a score, name it third." if judged else ""
    raise InputError(
        f"{data} has columns {', '.join(sorted(columns))}; expected {expected}. Name others with --columns.{hint}"
    )


def _kind_of(
    named: Sequence[str], kinds: Sequence[str], columns: Mapping[str, None], rows: Sequence[Row], data: str
) -> str:
    """The kind that needs as many columns as were named; of two such the one whose usual names they are."""
    absent = [name for name in named if name not in columns]
    if absent:
        raise InputError(f"{data} has no column {', '.join(absent)}; it has {', '.join(sorted(columns))}.")
    fitting = [kind for kind in kinds if len(_COLUMNS[kind]) == len(named)]
    if not fitting:
        expected = ", ".join(f"{len(_COLUMNS[kind])} for {kind} ({_EXAMPLES[kind]})" for kind in kinds)
        raise InputError(f"--columns names {len(named)}; expected {expected}.")
    if len(named) == 3 and len(fitting) > 1:
        scored = any(_as_number(row.values.get(named[2])) is not None for row in rows)
        return "pairs" if scored else "triplets"
    usual = [
        kind for kind in fitting if all(name in choice for name, choice in zip(named, _COLUMNS[kind], strict=True))
    ]
    if len(fitting) > 1 and not usual:
        either = " or ".join(f"{_EXAMPLES[kind]} (--kind {kind})" for kind in fitting)
        raise InputError(f"--columns {','.join(named)} may name {either}. Say which with --kind.")
    return (usual or fitting)[0]


def _groups(rows: Sequence[Row], columns: Mapping[str, None]) -> Groups:
    return {name: tuple(str(row.values.get(name) or "not said") for row in rows) for name in GROUPS if name in columns}


def _task(kind: str, rows: Sequence[Row], columns: Sequence[str], groups: Groups, data: str) -> Task:
    texts = tuple(_text(row, columns[0]) for row in rows)
    if kind == "texts":
        return Texts(texts, groups)
    if kind == "labels":
        return Labelled(texts, tuple(_label(row, columns[1]) for row in rows), groups)
    second = tuple(_text(row, columns[1]) for row in rows)
    if kind == "pairs":
        return Pairs(texts, second, tuple(_number(row, columns[2]) for row in rows), groups)
    if kind == "triplets":
        return Triplets(texts, second, tuple(_text(row, columns[2]) for row in rows), groups)
    return _answered(texts, second, groups, data)


def _answered(questions: Sequence[str], answers: Sequence[str], groups: Groups, data: str) -> Retrieval:
    """Each question's answers among all answers; a text that comes twice is one question, or one document."""
    queries: dict[str, str] = {}
    first = [row for row, text in enumerate(questions) if queries.setdefault(text, f"q{row}") == f"q{row}"]
    documents = {answer: f"d{number}" for number, answer in enumerate(dict.fromkeys(answers))}
    if len(documents) < 2:
        raise InputError(f"{data} has the same answer in every row; expected two answers at least, to find one among.")
    relevant: dict[str, dict[str, int]] = {}
    for question, answer in zip(questions, answers, strict=True):
        relevant.setdefault(queries[question], {})[documents[answer]] = 1
    return Retrieval(
        {name: text for text, name in queries.items()},
        {name: text for text, name in documents.items()},
        relevant,
        {column: tuple(values[row] for row in first) for column, values in groups.items()},
    )


def _text(row: Row, column: str) -> str:
    value = row.values.get(column)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{row.place}: {column} is {value!r}; expected a text. Mend the row, or take it out.")
    return value


def _number(row: Row, column: str) -> float:
    number = _as_number(row.values.get(column))
    if number is None:
        raise InputError(
            f"{row.place}: {column} is {row.values.get(column)!r}; expected a number. Mend the row, or take it out."
        )
    return number


def _as_number(value: Any) -> float | None:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


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
        raise TargetUnavailable(f"{name} is read with datasets: {how_to_install('compare')}") from error
    try:
        splits: Any = datasets.load_dataset(name)
    except Exception as error:  # it has no base class of its own, and wraps what its file systems raise
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{name} is no file here, and as a data set of the hub it cannot be read: {first}") from error
    if "test" not in splits and len(splits) > 1:
        raise InputError(f"{name} has the splits {', '.join(splits)} and no test. Save the one you mean as a .jsonl.")
    split = "test" if "test" in splits else next(iter(splits))
    return tuple(Row(f"{name} {split}, row {number}", values) for number, values in enumerate(splits[split], start=1))
