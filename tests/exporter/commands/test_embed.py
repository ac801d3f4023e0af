"""`poolfold embed`: exact vectors in a file that appears whole or not at all."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas
import pytest

from exporter.commands.cli import run_command
from tests.artifacts import DIM, expected, write_artifact

TEXTS = ["w1 w2", "w3", "", "w4 w5 w6 w7"]
FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
from exporter.commands.cli import main
main()
"""
TRESPASS = """
import os, sys
from pathlib import Path
from exporter.commands.embed import embed
if os.geteuid() == 0:
    os.setuid(65534)  # root may write anywhere
embed.callback(
    directory=Path(sys.argv[1]), source=Path(os.devnull), output=Path(sys.argv[2]), force=False, strategy=None,
    target="onnxruntime",
    column=None, revision=None, provider="cpu", dtype=None, batch_size=1, prompt_name=None, threads=None,
    precision="float32", dimensions=None, id_column=None, engine="stream", workers=None, prompt=None,
    as_json=False, quiet=False)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_artifact(tmp_path / "table", strategies=("mean", "cls"))
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS) + "\n")
    return tmp_path / "table"


def embed(directory: Path, output: Path, *more: str) -> int:
    return run_command(["embed", str(directory), "-i", str(directory.parent / "texts.txt"), "-o", str(output), *more])


@pytest.mark.parametrize("strategy", ["mean", "cls"])
def test_a_row_for_each_line(directory: Path, strategy: str, capsys: pytest.CaptureFixture[str]) -> None:
    output = directory.parent / "vectors.npy"
    assert embed(directory, output, "--strategy", strategy, "--batch-size", "2") == 0
    vectors = np.load(output)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, expected(TEXTS, strategy))
    said = capsys.readouterr()
    assert said.out == f"{output}: float32 [4, {DIM}]\n"
    assert said.err.startswith(f"embed      ...\nembed      4 texts, {strategy} fp32 on onnxruntime  (")


def test_json(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = directory.parent / "vectors.npy"
    assert embed(directory, output, "--json", "--quiet") == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert json.loads(said.out) == {
        "output": str(output), "texts": 4, "dim": DIM, "precision": "float32", "strategy": "mean", "dtype": "fp32",
        "target": "onnxruntime",
    }  # fmt: skip


def test_small_vectors(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = directory.parent / "vectors.npy"
    assert embed(directory, output, "--precision", "ubinary", "--dimensions", "5", "--json") == 0
    np.testing.assert_array_equal(np.load(output), np.packbits(expected(TEXTS)[:, :5] > 0, axis=1))
    said = capsys.readouterr()
    assert json.loads(said.out)["dim"] == 5 and json.loads(said.out)["precision"] == "ubinary"
    assert "warning: dimensions is 5" in said.err


def test_int8_needs_ranges(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = directory.parent / "vectors.npy"
    assert embed(directory, output, "--precision", "int8") == 2
    assert "take binary or ubinary" in capsys.readouterr().err and not output.exists()


def test_a_prompt_stands_before_each_text(directory: Path) -> None:
    output = directory.parent / "vectors.npy"
    assert embed(directory, output, "--prompt-name", "query") == 0
    np.testing.assert_array_equal(np.load(output), expected([f"w1 w2 {text}" for text in TEXTS]))


@pytest.mark.e2e
def test_streams_in_and_out(directory: Path) -> None:
    texts, expects = (directory.parent / "texts.txt").read_bytes(), expected(TEXTS)
    command = [sys.executable, "-m", "poolfold", "embed", str(directory), "-i", "-", "-o", "-"]
    done = subprocess.run(command, input=texts, capture_output=True)
    np.testing.assert_array_equal(np.load(io.BytesIO(done.stdout)), expects)
    assert done.stderr.startswith(b"embed ")
    done = subprocess.run([*command, "--json"], input=texts, capture_output=True)
    assert done.returncode == 2
    assert "Leave one of them out" in json.loads(done.stdout)["error"]


def test_nothing_is_replaced_unasked(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = directory.parent / "vectors.npy"
    output.write_bytes(b"mine")
    assert embed(directory, output) == 2
    assert "exists" in capsys.readouterr().err
    assert output.read_bytes() == b"mine"
    assert embed(directory, output, "--force") == 0
    np.testing.assert_array_equal(np.load(output), expected(TEXTS))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a file system of Linux")
def test_a_place_that_takes_no_files(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert embed(directory, Path("/proc/vectors.npy")) == 2
    assert re.search(r"/proc.* (cannot be written|is not writable)", capsys.readouterr().err)


def test_no_texts_are_no_vectors(directory: Path) -> None:
    (directory.parent / "texts.txt").write_text("")
    assert embed(directory, directory.parent / "vectors.npy") == 0
    assert np.load(directory.parent / "vectors.npy").shape == (0, DIM)


def test_the_name_is_kept_and_the_file_is_as_open_as_any(directory: Path) -> None:
    output = directory.parent / "vectors.NPY"  # np.save itself would add .npy
    assert embed(directory, output) == 0
    (directory.parent / "plain").touch()
    assert stat.S_IMODE(output.stat().st_mode) == stat.S_IMODE((directory.parent / "plain").stat().st_mode)


def refused(directory: Path, output: Path, code: int, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    before = sorted(path.name for path in directory.parent.iterdir())
    assert embed(directory, output, *more) == code
    assert sorted(path.name for path in directory.parent.iterdir()) == before
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def test_where_no_file_can_be_is_found_out_before_the_work(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(directory, directory.parent, 2, capsys)
    assert "holds other files; expected a new folder, or one of parts" in message
    message += refused(directory, directory.parent / "absent" / "v.npy", 2, capsys)
    assert "absent is not a directory. Make it first" in message
    assert "embed  " not in message


def test_a_folder_that_is_not_writable(directory: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        Path(folder).chmod(0o755)
        shutil.copytree(directory, f"{folder}/artifact")
        closed = Path(folder) / "closed"
        closed.mkdir(0o555)
        arguments = [f"{folder}/artifact", str(closed / "v.npy")]
        done = subprocess.run([sys.executable, "-c", TRESPASS, *arguments], capture_output=True, text=True)
        assert f"InputError: {closed} is not writable. Write elsewhere with -o." in done.stderr
        assert list(closed.iterdir()) == []


def test_a_text_that_fails_leaves_the_old_file(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = directory.parent / "vectors.npy"
    output.write_bytes(b"old")
    (directory.parent / "texts.txt").write_text("w1\nnan w2\n")
    assert "text 1" in refused(directory, output, 1, capsys, "--force")
    assert output.read_bytes() == b"old"


def test_a_full_disk_leaves_the_old_file(directory: Path) -> None:
    output = directory.parent / "vectors.npy"
    output.write_bytes(b"old")
    (directory.parent / "texts.txt").write_text("w1\n" * 1000)  # 32 000 bytes of vectors
    before = sorted(path.name for path in directory.parent.iterdir())
    arguments = ["embed", directory, "-i", directory.parent / "texts.txt", "-o", output, "--force"]
    done = subprocess.run([sys.executable, "-c", FULL, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert f"No room to write {output}" in done.stderr
    assert output.read_bytes() == b"old"
    assert sorted(path.name for path in directory.parent.iterdir()) == before


def test_nothing_that_it_reads_is_written_over(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = directory.parent / "precious.txt"
    texts.write_text("one\n")
    os.mkfifo(directory.parent / "pipe")
    for output, why in (
        (texts, "is the input itself"),
        (directory / "vectors.npy", "lies in the artifact"),
        (directory.parent / "pipe", "cannot be written (File exists)"),
    ):
        assert run_command(["embed", str(directory), "-i", str(texts), "-o", str(output)]) == 2
        assert why in capsys.readouterr().err
    assert texts.read_text() == "one\n"
    assert stat.S_ISFIFO((directory.parent / "pipe").stat().st_mode)


RECORDS = ["w1 w2", "w3\nw4", "", "w4 w5 w6 w7"]
TABLE = pandas.DataFrame({"text": RECORDS, "note": ["a", "b", "c", "d"]})


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("t.csv", lambda path: TABLE.to_csv(path, index=False)),
        ("T.CSV", lambda path: TABLE.to_csv(path, index=False)),
        ("t.tsv", lambda path: TABLE.to_csv(path, index=False, sep="\t")),
        ("t.jsonl", lambda path: TABLE.to_json(path, orient="records", lines=True)),
        ("t.parquet", TABLE.to_parquet),
        (
            "t.body.jsonl",
            lambda path: TABLE.rename(columns={"text": "body"}).to_json(path, orient="records", lines=True),
        ),
        ("only.csv", lambda path: TABLE[["text"]].rename(columns={"text": "x"}).to_csv(path, index=False)),
    ],
)
def test_a_row_for_each_record(directory: Path, name: str, write: Callable[[Path], object]) -> None:
    write(directory.parent / name)
    output = directory.parent / "vectors.npy"
    assert run_command(["embed", str(directory), "-i", str(directory.parent / name), "-o", str(output)]) == 0
    np.testing.assert_array_equal(np.load(output), expected(RECORDS))


@pytest.mark.parametrize("name", ["t.txt", "t.text", "t.md", "T.TXT", "t"])
def test_a_row_for_each_line_of_what_holds_lines(directory: Path, name: str) -> None:
    (directory.parent / name).write_text("w1 w2\n\nw3\n")
    output = directory.parent / "vectors.npy"
    assert run_command(["embed", str(directory), "-i", str(directory.parent / name), "-o", str(output)]) == 0
    np.testing.assert_array_equal(np.load(output), expected(["w1 w2", "", "w3"]))


def test_standard_input_holds_lines(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"w1\nw2 w3\n")))
    output = directory.parent / "vectors.npy"
    assert run_command(["embed", str(directory), "-i", "-", "-o", str(output)]) == 0
    np.testing.assert_array_equal(np.load(output), expected(["w1", "w2 w3"]))


def test_a_column_by_name(directory: Path) -> None:
    TABLE.assign(other=RECORDS[::-1]).to_csv(directory.parent / "t.csv", index=False)
    source, output = directory.parent / "t.csv", directory.parent / "vectors.npy"
    assert run_command(["embed", str(directory), "-i", str(source), "--column", "other", "-o", str(output)]) == 0
    np.testing.assert_array_equal(np.load(output), expected(RECORDS[::-1]))


@pytest.mark.parametrize(
    ("name", "content", "more", "message"),
    [
        ("t.json", "[]", (), "suffix '.json'; expected records in .csv"),
        ("t.xlsx", "", (), "suffix '.xlsx'"),
        ("t.csv.gz", "", (), "suffix '.gz'"),
        ("t.log", "", (), "suffix '.log'.*-i - < t.log"),
        ("t.csv", "a,b\n1,2\n", (), "has the columns a, b; say with --column"),
        ("t.csv", "a,b\n1,2\n", ("--column", "c"), "no column 'c'; it has a, b"),
        ("t.csv", "id;text\n1;w1, w2\n", (), "separated by semicolons; expected commas"),
        ("t.tsv", "id,text\n1,w1\n", (), "separated by commas; expected tabs"),
        ("t.txt", "a\n", ("--column", "c"), "holds lines, and column 'c' was asked for"),
        ("t.jsonl", '{"text": "w1"}\n{"text": null}\n', (), "line 2: text is None; expected a text"),
        ("t.jsonl", '{"text": "w1"}\n{"body": "w1"}\n', (), "line 2: text is None"),
        ("t.jsonl", '{"text": 5}\n', (), "line 1: text is 5"),
        ("t.csv", 'text\n"a\n', (), "t.csv, line"),
        ("t.parquet", "text", (), "is not a Parquet file"),
    ],
)
def test_what_holds_no_texts_is_refused_with_the_place(
    directory: Path, name: str, content: str, more: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = directory.parent / name, directory.parent / "vectors.npy"
    source.write_text(content)
    assert run_command(["embed", str(directory), "-i", str(source), "-o", str(output), *more]) == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
    assert not output.exists()


def test_another_format_than_it_writes_is_refused(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert embed(directory, directory.parent / "vectors.csv") == 2
    assert "suffix '.csv'; expected .npy" in capsys.readouterr().err
