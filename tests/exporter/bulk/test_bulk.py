"""Very many texts into a folder: every id once with its own vector, whatever ended a run before, and nothing mixed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from exporter.bulk import folder, inputs, job, parts, stream
from exporter.commands.cli import run_command
from exporter.host import text_column
from tests.artifacts import DIM, PROMPTS, expected, write_artifact

ROWS = 16
"""Of a part here."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (job, inputs, parts, stream):
        monkeypatch.setattr(module, "ROWS", ROWS)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    write_artifact(tmp_path / "table", strategies=("cls", "mean"))
    return tmp_path / "table"


def texts(count: int, first: int = 0) -> list[str]:
    return [" ".join(f"w{(first + n) * k % 26}" for k in range(1, 2 + n % 5)) for n in range(count)]


def write_inputs(tmp_path: Path) -> dict[Any, str]:
    """Three Parquet files of 50, 16 and 0 rows; gives the text of each id."""
    (tmp_path / "texts").mkdir()
    of_id: dict[Any, str] = {}
    for name, rows, first in (("a", 50, 0), ("b", ROWS, 1000), ("c", 0, 2000)):
        columns = {
            "id": pa.array(range(first, first + rows), pa.int64()),
            "body": pa.array(texts(rows, first), pa.string()),
        }
        pq.write_table(
            pa.table(columns | {"other": [None] * rows}), tmp_path / "texts" / f"{name}.parquet", row_group_size=7
        )
        of_id |= dict(zip(columns["id"].to_pylist(), columns["body"].to_pylist(), strict=True))
    return of_id


def arguments(tmp_path: Path, artifact: Path, *more: str) -> list[str]:
    return [
        *("embed", str(artifact), "-i", str(tmp_path / "texts" / "*.parquet"), "-o", str(tmp_path / "vectors")),
        *("--column", "body", "--id-column", "id", *more),
    ]  # fmt: skip


def read(place: Path, id_name: str = "id") -> tuple[list[Any], np.ndarray]:
    """What any reader of the folder finds, which leaves out what begins with `_` and `.`."""
    found = pq.read_table(place)
    assert found.column_names == [id_name, "embedding"]
    rows = found.column("embedding").combine_chunks()
    return found.column(id_name).to_pylist(), rows.flatten().to_numpy().reshape(len(found), -1)


def check(place: Path, of_id: dict[Any, str]) -> None:
    ids, vectors = read(place)
    assert sorted(ids) == sorted(of_id)
    np.testing.assert_array_equal(vectors, expected([of_id[number] for number in ids]))


def test_every_id_once_with_its_own_vector(tmp_path: Path, artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    of_id = write_inputs(tmp_path)
    assert run_command(arguments(tmp_path, artifact, "--json")) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["texts"], said["parts"], said["dim"]) == (66, 5, DIM)
    check(tmp_path / "vectors", of_id)
    others = {path.name for path in (tmp_path / "vectors").iterdir()} - {
        path.name for path in (tmp_path / "vectors").glob("part-*.parquet")
    }
    assert others == {"_poolfold.json", ".lock"}


def test_the_same_command_makes_what_is_missing_and_nothing_else(tmp_path: Path, artifact: Path) -> None:
    of_id = write_inputs(tmp_path)
    assert run_command(arguments(tmp_path, artifact)) == 0
    made = sorted((tmp_path / "vectors").glob("part-*.parquet"))
    stamps = {path: path.stat().st_mtime_ns for path in made}
    for path in (made[0], made[2]):
        path.unlink()
    (tmp_path / "vectors" / ".part-left-01234567-000000.parquet.0123").write_bytes(b"half")
    assert run_command(arguments(tmp_path, artifact)) == 0
    check(tmp_path / "vectors", of_id)
    changed = {path for path in made if path.stat().st_mtime_ns != stamps[path]}
    assert changed == {made[0], made[2]}
    assert not (tmp_path / "vectors" / ".part-left-01234567-000000.parquet.0123").exists()


def test_files_that_come_later_are_added(tmp_path: Path, artifact: Path) -> None:
    of_id = write_inputs(tmp_path)
    assert run_command(arguments(tmp_path, artifact)) == 0
    more = pa.table({"id": [7000, 7001], "body": ["w1", "w2"]})
    pq.write_table(more, tmp_path / "texts" / "d.parquet")
    assert run_command(arguments(tmp_path, artifact)) == 0
    check(tmp_path / "vectors", of_id | {7000: "w1", 7001: "w2"})


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv", "txt"])
def test_a_file_is_read_from_any_of_its_records_on(tmp_path: Path, suffix: str) -> None:
    of_id = write_inputs(tmp_path)
    place, wanted = tmp_path / f"a.{suffix}", list(of_id.values())[:50]
    lines = {
        "jsonl": [json.dumps({"body": text}) for text in wanted],
        "csv": ["body", *wanted],
        "txt": wanted,
    }
    if suffix == "parquet":
        (tmp_path / "texts" / "a.parquet").rename(place)
    else:
        place.write_text("\n".join(lines[suffix]) + "\n")
    column = None if suffix == "txt" else "body"
    for skip in range(52):
        found = [(record.place, record.text) for record in text_column.iter_records(place, column, skip=skip)]
        assert [text for _, text in found] == wanted[skip:]
        if found:
            offset = 2 if suffix == "csv" else 1
            assert found[0][0].endswith(f" {skip + offset}")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--strategy", "cls"), "another artifact, strategy or precision"),
        (("--prompt-name", "query"), "--prompt-name None, and now it is query"),
        (("--dimensions", "4"), "--dimensions None, and now it is 4"),
        (("--precision", "binary"), "--precision float32, and now it is binary"),
    ],
)
def test_nothing_else_is_mixed_in(
    tmp_path: Path, artifact: Path, more: Sequence[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    of_id = write_inputs(tmp_path)
    assert run_command(arguments(tmp_path, artifact)) == 0
    assert run_command(arguments(tmp_path, artifact, *more)) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "--force to begin anew" in error
    check(tmp_path / "vectors", of_id)
    assert run_command(arguments(tmp_path, artifact, *more, "--force")) == 0
    assert len(read(tmp_path / "vectors")[0]) == len(of_id)


def test_a_file_that_changed_is_told(tmp_path: Path, artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_inputs(tmp_path)
    assert run_command(arguments(tmp_path, artifact)) == 0
    pq.write_table(pa.table({"id": [1], "body": ["w9"]}), tmp_path / "texts" / "b.parquet")
    assert run_command(arguments(tmp_path, artifact)) == 2
    assert "b.parquet has changed since" in capsys.readouterr().err
    (tmp_path / "texts" / "b.parquet").unlink()
    assert run_command(arguments(tmp_path, artifact)) == 2
    assert "which is not among the files now" in capsys.readouterr().err


def test_a_bad_text_is_named_by_its_place_and_what_was_done_stays(
    tmp_path: Path, artifact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_inputs(tmp_path)
    bad = texts(40)
    bad[33] = "nan"
    pq.write_table(pa.table({"id": list(range(5000, 5040)), "body": bad}), tmp_path / "texts" / "aa.parquet")
    assert run_command(arguments(tmp_path, artifact)) == 1
    assert "aa.parquet, row 34: the vector is not finite" in capsys.readouterr().err
    ids, _ = read(tmp_path / "vectors")
    assert sorted(ids) == sorted([*range(50), *range(5000, 5032)])


@pytest.mark.parametrize(
    ("name", "content", "options", "wanted"),
    [
        ("a.txt", "w1\n\nw2 w3\n", (), ["a.txt#0", "a.txt#1", "a.txt#2"]),
        ("a.csv", 'key,text\nx,w1\ny,""\nz,"w2 w3"\n', ("--id-column", "key"), ["x", "y", "z"]),
        (
            "a.jsonl",
            '{"key": 3, "text": "w1"}\n{"key": 4, "text": ""}\n{"key": 5, "text": "w2 w3"}\n',
            ("--id-column", "key"),
            [3, 4, 5],
        ),
        ("a.tsv", "text\nw1\n\t\nw2 w3\n".replace("\t", '""'), (), ["a.tsv#0", "a.tsv#1", "a.tsv#2"]),
    ],
)
def test_other_formats(
    tmp_path: Path, artifact: Path, name: str, content: str, options: Sequence[str], wanted: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(content)
    assert run_command(["embed", str(artifact), "-i", name, "-o", "vectors", *options]) == 0
    ids, vectors = read(tmp_path / "vectors", options[1] if options else "row")
    assert ids == wanted
    np.testing.assert_array_equal(vectors, expected(["w1", "", "w2 w3"]))


def test_prompts_dimensions_and_bits(tmp_path: Path, artifact: Path) -> None:
    of_id = write_inputs(tmp_path)
    more = ("--prompt", PROMPTS["query"], "--dimensions", "4", "--precision", "ubinary")
    assert run_command(arguments(tmp_path, artifact, *more)) == 0
    ids, vectors = read(tmp_path / "vectors")
    wanted = np.packbits(expected([PROMPTS["query"] + of_id[number] for number in ids])[:, :4] > 0, axis=1)
    assert vectors.dtype == np.uint8
    np.testing.assert_array_equal(vectors, wanted)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (("-i", "nothing/*.parquet"), "is no file and no pattern of any"),
        (("-i", "."), "It is a folder: name its files"),
        (("-i", "-"), "is read once"),
        (("--column", "no"), "has no column 'no'"),
        (("--id-column", "no"), "has no column 'no'"),
        (("--id-column", "other"), "other is None; expected an id"),
        (("--workers", "2"), "Leave it out, or add the engine"),
        (("-o", "vectors.npy"), "--id-column is for a folder of parts"),
        (("--prompt", "a", "--prompt-name", "query"), "Leave one out"),
    ],
)
def test_bad_arguments(
    tmp_path: Path, artifact: Path, changes: Sequence[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_inputs(tmp_path)
    assert run_command(arguments(tmp_path, artifact, *changes)) == 2
    assert says in capsys.readouterr().err


def test_two_writers_do_not_meet(tmp_path: Path, artifact: Path) -> None:
    write_inputs(tmp_path)
    sources = inputs.files_of(tmp_path / "texts" / "*.parquet")
    with (
        folder.opened(tmp_path / "v", job.Job(artifact), "x", sources, force=False),
        pytest.raises(ValueError, match="another process writes into"),
        folder.opened(tmp_path / "v", job.Job(artifact), "x", sources, force=False),
    ):
        pass


def test_a_folder_of_other_files_is_left_alone(tmp_path: Path, artifact: Path) -> None:
    write_inputs(tmp_path)
    (tmp_path / "vectors").mkdir()
    pq.write_table(pa.table({"id": [1]}), tmp_path / "vectors" / "part-00000-0f3e.snappy.parquet")
    for more in ((), ("--force",)):
        assert run_command(arguments(tmp_path, artifact, *more)) == 2
        assert [path.name for path in (tmp_path / "vectors").iterdir()] == ["part-00000-0f3e.snappy.parquet"]


@pytest.mark.slow
def test_a_process_that_is_killed_again_and_again_loses_and_doubles_nothing(tmp_path: Path, artifact: Path) -> None:
    (tmp_path / "texts").mkdir()
    of_id = dict(enumerate(texts(200_000)))
    pq.write_table(pa.table({"id": list(of_id), "body": list(of_id.values())}), tmp_path / "texts" / "a.parquet")
    command = [sys.executable, "-m", "poolfold", *arguments(tmp_path, artifact, "-q")]
    kills = 0
    for _ in range(50):
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        until = time.monotonic() + 2 + kills % 3
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        if process.poll() is not None:
            break
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
    assert process.returncode == 0
    assert kills >= 1
    check(tmp_path / "vectors", of_id)


def test_what_is_read_does_not_grow_with_the_file(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"text": "w1"}\n' * 3000)
    records = text_column.iter_records(source)
    assert next(records).text == "w1"
    assert sum(1 for _ in records) == 2999
