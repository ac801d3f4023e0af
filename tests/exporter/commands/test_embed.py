"""`poolfold embed`: exact vectors in a file that appears whole or not at all."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
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
    directory=Path("absent"), source=Path(os.devnull), output=Path(sys.argv[1]), strategy=None, target="onnxruntime",
    provider="cpu", dtype=None, batch_size=1, prompt_name=None, threads=None, as_json=False, quiet=False)
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
    assert said.err.startswith(f"embed      4 texts, {strategy} fp32 on onnxruntime  (")


def test_json(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = directory.parent / "vectors.npy"
    assert embed(directory, output, "--json", "--quiet") == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert json.loads(said.out) == {
        "output": str(output), "texts": 4, "dim": DIM, "strategy": "mean", "dtype": "fp32", "target": "onnxruntime",
    }  # fmt: skip


def test_a_prompt_stands_before_each_text(directory: Path) -> None:
    output = directory.parent / "vectors.npy"
    assert embed(directory, output, "--prompt-name", "query") == 0
    np.testing.assert_array_equal(np.load(output), expected([f"w1 w2 {text}" for text in TEXTS]))


def test_no_texts_are_no_vectors(directory: Path) -> None:
    (directory.parent / "texts.txt").write_text("")
    assert embed(directory, directory.parent / "vectors.npy") == 0
    assert np.load(directory.parent / "vectors.npy").shape == (0, DIM)


def test_the_name_is_kept_and_the_file_is_as_open_as_any(directory: Path) -> None:
    output = directory.parent / "vectors.bin"  # np.save itself would add .npy
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
    assert "is a directory; expected a file name such as vectors.npy" in message
    message += refused(directory, directory.parent / "absent" / "v.npy", 2, capsys)
    assert "absent is not a directory. Make it first" in message
    assert "embed  " not in message


def test_a_folder_that_is_not_writable(directory: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        Path(folder).chmod(0o555)
        done = subprocess.run([sys.executable, "-c", TRESPASS, f"{folder}/v.npy"], capture_output=True, text=True)
        assert f"InputError: {folder} is not writable. Write elsewhere with -o." in done.stderr
        assert list(Path(folder).iterdir()) == []


def test_a_text_that_fails_leaves_the_old_file(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = directory.parent / "vectors.npy"
    output.write_bytes(b"old")
    (directory.parent / "texts.txt").write_text("w1\nnan w2\n")
    assert "text 1" in refused(directory, output, 1, capsys)
    assert output.read_bytes() == b"old"


def test_a_full_disk_leaves_the_old_file(directory: Path) -> None:
    output = directory.parent / "vectors.npy"
    output.write_bytes(b"old")
    (directory.parent / "texts.txt").write_text("w1\n" * 1000)  # 32 000 bytes of vectors
    before = sorted(path.name for path in directory.parent.iterdir())
    arguments = ["embed", directory, "-i", directory.parent / "texts.txt", "-o", output]
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
        (directory.parent / "pipe", "no regular file"),
    ):
        assert run_command(["embed", str(directory), "-i", str(texts), "-o", str(output)]) == 2
        assert why in capsys.readouterr().err
    assert texts.read_text() == "one\n"
    assert stat.S_ISFIFO((directory.parent / "pipe").stat().st_mode)
