"""Data in the formats people have: the same rows from each, and every malformed row by its line."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from exporter.comparison.read_task import read_task
from exporter.comparison.tasks import Labelled, Pairs, Retrieval, Texts, Triplets
from poolfold.errors import InputError
from tests.exporter.comparison.synthetic import pairs_file

DATA = Path(__file__).parents[2] / "data"
ROWS: list[dict[str, Any]] = [
    {"sentence1": f'first, "{i}"\twith\na break', "sentence2": f"zweiter ü {i}", "score": i / 2, "language": "de"}
    for i in range(12)
]


def table(path: Path, delimiter: str, rows: list[dict[str, Any]] = ROWS) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


def json_lines(path: Path, rows: list[Any] = ROWS) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return path


def columns(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_every_format_gives_the_same_pairs(tmp_path: Path) -> None:
    expected = Pairs(
        tuple(row["sentence1"] for row in ROWS),
        tuple(row["sentence2"] for row in ROWS),
        tuple(row["score"] for row in ROWS),
        {"language": ("de",) * 12},
    )
    for path in (
        table(tmp_path / "a.csv", ","),
        table(tmp_path / "a.tsv", "\t"),
        json_lines(tmp_path / "a.jsonl"),
        columns(tmp_path / "a.parquet"),
    ):
        assert read_task(str(path)) == expected
        assert read_task(str(path), "pairs") == expected


def test_a_kind_is_known_by_its_columns(tmp_path: Path) -> None:
    labelled = [{"text": f"t{i}", "label": i % 2} for i in range(10)]
    assert read_task(str(json_lines(tmp_path / "l.jsonl", labelled))) == Labelled(
        tuple(f"t{i}" for i in range(10)), tuple(str(i % 2) for i in range(10))
    )
    assert isinstance(read_task(str(tmp_path / "l.jsonl"), "texts"), Texts)
    bare = [{"sentence": f"t{i}", "domain": "x"} for i in range(10)]
    assert read_task(str(json_lines(tmp_path / "b.jsonl", bare))) == Texts(
        tuple(f"t{i}" for i in range(10)), {"domain": ("x",) * 10}
    )
    (tmp_path / "t.txt").write_text("\n".join(f"t{i}" for i in range(10)))
    assert read_task(str(tmp_path / "t.txt")) == Texts(tuple(f"t{i}" for i in range(10)))


def test_questions_with_answers_and_triplets_are_known_by_their_columns(tmp_path: Path) -> None:
    rows = [{"question": f"q{i // 2}", "answer": f"a{i % 9}", "lang": f"l{i // 2}"} for i in range(24)]
    task = read_task(str(table(tmp_path / "a.csv", ",", rows)))
    assert isinstance(task, Retrieval)
    # A question that comes twice has two answers; an answer that comes twice is one document.
    assert list(task.queries.values()) == [f"q{i}" for i in range(12)]
    assert sorted(task.documents.values()) == [f"a{i}" for i in range(9)]
    by_text = {task.queries[q]: {task.documents[d] for d in found} for q, found in task.relevant.items()}
    assert by_text["q4"] == {"a8", "a0"}
    assert task.groups == {"lang": tuple(f"l{i}" for i in range(12))}
    rows = [{"anchor": f"a{i}", "positive": f"p{i}", "negative": f"n{i}"} for i in range(12)]
    triplets = read_task(str(json_lines(tmp_path / "t.jsonl", rows)))
    anchors, positives, negatives = (tuple(f"{kind}{i}" for i in range(12)) for kind in "apn")
    assert triplets == Triplets(anchors, positives, negatives)
    assert [part.prompts[:1] for part in triplets.parts] == [("query",), ("document",), ("document",)]
    pairs = [{"anchor": f"a{i}", "positive": f"p{i}"} for i in range(12)]
    assert isinstance(read_task(str(json_lines(tmp_path / "p.jsonl", pairs))), Retrieval)
    # By a label some of them may be wrong answers: nothing is guessed.
    judged = str(json_lines(tmp_path / "j.jsonl", [{**row, "label": 0} for row in pairs]))
    with pytest.raises(InputError, match="If label is a score, name it third"):
        read_task(judged)
    assert isinstance(read_task(judged, None, None, ["anchor", "positive", "label"]), Pairs)


def test_the_illustrative_data_are_read() -> None:
    kinds = [type(read_task(str(DATA / name))) for name in ("pairs.tsv", "labels.csv", "retrieval", "texts.txt")]
    assert kinds == [Pairs, Labelled, Retrieval, Texts]
    pairs = read_task(str(DATA / "pairs.tsv"))
    assert set(pairs.groups) == {"language", "domain"}
    assert set(pairs.groups["language"]) == {"en", "de", "fr", "es"}


def beir(folder: Path, **changes: str) -> Path:
    """A small set in BEIR's layout; `changes` replace whole files."""
    files = {
        "corpus.jsonl": "\n".join(json.dumps({"_id": f"d{i}", "title": "T", "text": f"x{i}"}) for i in range(12)),
        "queries.jsonl": "\n".join(json.dumps({"_id": f"q{i}", "text": f"y{i}"}) for i in range(12)),
        "qrels/test.tsv": "query-id\tcorpus-id\tscore\n" + "\n".join(f"q{i}\td{i}\t2" for i in range(11)),
    }
    for name, content in {**files, **changes}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content + "\n")
    return folder


def test_retrieval_has_titles_before_texts_and_judged_queries_only(tmp_path: Path) -> None:
    task = read_task(str(beir(tmp_path)))
    assert isinstance(task, Retrieval)
    assert task.documents["d3"] == "T x3"
    assert list(task.queries) == [f"q{i}" for i in range(11)]
    assert task.relevant["q4"] == {"d4": 2}
    assert [part.prompts[0] for part in task.parts] == ["query", "document"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"sentence1": "", "sentence2": "b", "score": 1.0}, "line 13: sentence1 is ''; expected a text"),
        ({"sentence1": "a", "sentence2": None, "score": 1.0}, "line 13: sentence2 is None; expected a text"),
        ({"sentence1": "a", "sentence2": "b", "score": "high"}, "line 13: score is 'high'; expected a number"),
        ({"sentence1": "a", "sentence2": "b", "score": "nan"}, "line 13: score is 'nan'; expected a number"),
        ({"sentence1": "a", "sentence2": "b", "score": True}, "line 13: score is True; expected a number"),
        ({"sentence2": "b", "score": 1.0}, "line 13: sentence1 is None; expected a text"),
        (["a", "b", 1.0], "line 13: got list, expected one JSON object a line"),
    ],
)
def test_a_malformed_row_is_named_by_its_line(row: Any, says: str, tmp_path: Path) -> None:
    plain = [{name: row[name] for name in ("sentence1", "sentence2", "score")} for row in ROWS]
    with pytest.raises(InputError, match=says.replace("(", r"\(")):
        read_task(str(json_lines(tmp_path / "a.jsonl", [*plain, row])))


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    # Each of the twelve rows before has a line break in a quoted cell: the header, then 24 lines.
    path = table(tmp_path / "a.csv", ",")
    with path.open("a") as file:
        file.write("a,b\n")
    with pytest.raises(InputError, match=r"a\.csv, line 26: got 2 cells, expected 4: sentence1, sentence2, score"):
        read_task(str(path))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty; expected a first line that names the columns"),
        ("a,a\n1,2\n", "line 1: a column comes twice"),
        ("x,y\n" + "1,2\n" * 10, "has columns x, y; expected sentence1, sentence2, score (pairs); anchor, positive"),
        ("text1,text2,label\n" + "1,2,3\n" * 10, "If label is a score, name it third."),
        ("question,answer\n" + "1,2\n" * 10, "has the same answer in every row"),
        ("text,label\na,b\n", "has 1 text; expected 10 at least"),
        ("text,label\n" + "a,b\n" * 9, "has 9 texts; expected 10 at least"),
        ("text,label\n" + "a,b\n" * 3 + "a, \n", "line 5: label is ' '; expected a class"),
        ('text,label\n"a" b,c\n', "line 2: .*Quote cells"),
    ],
)
def test_a_bad_table_says_what_is_wrong(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(InputError, match=re.escape(says).replace(r"\.\*", ".*")):
        read_task(str(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td99\t1"}, r"test\.tsv, line 2: no document 'd99'"),
        ({"qrels/test.tsv": "query-id\tcorpus-id\tscore\nq99\td1\t1"}, r"test\.tsv, line 2: no query 'q99'"),
        ({"qrels/test.tsv": "query-id\tcorpus-id\nq1\td1"}, "no column score"),
        ({"qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t0.5"}, "score is 0.5; expected a whole grade"),
        ({"qrels/test.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t0"}, "names no relevant document"),
        ({"corpus.jsonl": '{"_id": "d1", "text": "a"}\n{"_id": "d1", "text": "b"}'}, "line 2: _id is 'd1'"),
        ({"corpus.jsonl": '{"_id": "d1", "text": "a"}\n{"_id": '}, "line 2: not JSON"),
        ({"queries.jsonl": '{"_id": 1, "text": "a"}'}, "line 1: _id is 1; expected a text"),
    ],
)
def test_a_bad_retrieval_set_says_what_is_wrong(changes: dict[str, str], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        read_task(str(beir(tmp_path, **changes)))


def test_what_is_no_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("not one")
    (tmp_path / "a.xls").write_text("not one")
    (tmp_path / "a.txt").write_text("a\n" * 9 + "\n")
    (tmp_path / "empty").mkdir()
    for name, kind, says in (
        ("a.parquet", None, "is not a Parquet file"),
        ("a.xls", None, "has the suffix '.xls'; expected one of .csv"),
        ("a.txt", None, "line 10: it is empty"),
        ("a.txt", "pairs", "--kind pairs needs columns"),
        ("none.csv", None, "does not exist"),
        ("none", None, "OWNER/NAME"),
        ("empty", None, "has no qrels/test.tsv"),
        ("empty", "pairs", "is a folder; --kind pairs reads a file"),
        ("a.txt", "retrieval", "--kind retrieval needs columns"),
    ):
        with pytest.raises(InputError, match=says):
            read_task(str(tmp_path / name), kind)


def test_a_hub_id_that_cannot_be_reached_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="no file here, and as a data set of the hub it cannot be read"):
        read_task("poolfold-tests/no-such-set")


def test_a_data_set_of_the_hub_is_read_by_its_test_split(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # `datasets` takes a folder OWNER/NAME for one of the hub's where it lies here.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "owner" / "name"
    folder.mkdir(parents=True)
    json_lines(folder / "train.jsonl", ROWS[:2])
    json_lines(folder / "test.jsonl", ROWS)
    from exporter.comparison.read_task import _hub_rows

    rows = _hub_rows("owner/name")
    assert [row.values["sentence2"] for row in rows] == [row["sentence2"] for row in ROWS]
    assert rows[3].place == "owner/name test, row 4"


def test_other_names_are_named(tmp_path: Path) -> None:
    rows = [{"question": f"q{i}", "answer": f"a{i}", "rating": i, "text": f"t{i}", "label": "l"} for i in range(10)]
    path = str(table(tmp_path / "data.dat", ",", rows))
    task = read_task(path, None, "csv", ["question", "answer", "rating"])
    assert isinstance(task, Pairs)
    assert (task.first[3], task.second[3], task.scores[3]) == ("q3", "a3", 3.0)
    assert isinstance(read_task(path, "labels", "csv", ["question", "answer"]), Labelled)
    assert isinstance(read_task(path, "retrieval", "csv", ["text", "answer"]), Retrieval)
    assert isinstance(read_task(path, None, "csv", ["question", "answer"]), Retrieval)
    assert isinstance(read_task(path, None, "csv", ["question", "answer", "text"]), Triplets)
    assert isinstance(read_task(path, None, "csv", ["text", "label"]), Labelled)
    assert read_task(path, None, "csv", ["answer"]) == Texts(tuple(f"a{i}" for i in range(10)))
    assert isinstance(read_task(path, None, "csv"), Labelled)
    assert len(read_task(path, None, "txt").units) == 11
    for arguments, says in (
        ((path,), "has the suffix '.dat'.*--format"),
        ((path, None, "csv", ["question", "reply", "rating"]), "has no column reply; it has answer, label"),
        ((path, "texts", "csv", ["question", "answer"]), "names 2; expected 1 for texts"),
        ((path, None, "csv", ["answer", "question"]), r"may name question, answer \(--kind retrieval\) or text, label"),
        ((path, "pairs", "csv"), "Name others with --columns"),
        ((path, None, "parquet"), "is not a Parquet file"),
    ):
        with pytest.raises(InputError, match=says):
            read_task(*arguments)


@given(st.lists(st.text(min_size=1).filter(lambda text: text.strip()), min_size=10, max_size=20))
def test_bare_texts_have_two_halves_of_every_text(texts: list[str]) -> None:
    whole, first, second = Texts(tuple(texts)).parts
    assert whole.texts == tuple(texts)
    for text, a, b in zip(texts, first.texts, second.texts, strict=True):
        assert a.strip() and b.strip()
        assert (a, b) == (text, text) or "".join((a + b).split()) == "".join(text.split())


def test_the_synthetic_pairs_are_pairs(tmp_path: Path) -> None:
    assert isinstance(read_task(str(pairs_file(tmp_path / "pairs.tsv"))), Pairs)
