"""Command lines that go wrong, in a folder with a model, artifacts and data.

A program: it makes that folder in the working directory, runs each line there and prints what it said.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

LINES: dict[str, tuple[str, ...]] = {
    "Typing errors": (
        "exprot model -o out",
        "export model -o out --pooling average",
        "export model -o out --pooling cls,mean",
        "export model -o out --pooling last_token",
        "export model -o out --pooling cls+cls",
        "export model -o out --dtype half",
        "export model -o out --dtype int4",
        "export model -o out --target onnx",
        "export model -o out --target trt",
        "export model -o out --pool cls",
        "export model -o out --seq-len 128",
        "export model -o out --batch 8:4:1",
        "export model -o out --dimensions 0",
        "export model -o out --buckets short,long",
        "export model -o out --tokenizer hf",
        "export model -o out --fold-prompt query",
        "export model -o out --fold-prompt q=one --fold-prompt q=two",
    ),
    "Something left out, too much, or in the wrong order": (
        "export model",
        "export -o out",
        "export out model -o out",
        "verify",
        "verify artifact artifact",
        "embed artifact texts.txt -o v.npy",
        "embed artifact -i texts.txt",
        "embed texts.txt -i artifact -o v.npy",
        "compare model",
        "build artifact",
        "export model -o out --revision main",
        "export model -o out --target openvino --dtype fp16",
        "export model -o out --target tensorrt-rtx",
        "export model -o out --dtype bf16",
        "export model -o out --dimensions 4096 --skip-latency",
        "embed artifact -i texts.txt -o - --json",
        "embed artifact -i texts.txt -o v.npy --id-column id",
        "embed artifact -i texts.txt -o v.npy --engine ray",
        "embed artifact -i texts.txt -o parts --workers 2",
        "embed artifact -i - -o parts",
        "serve",
        "serve artifact --port 99999",
        "serve artifact --tls-key texts.txt",
        "deploy triton artifact",
        "deploy tritn artifact -o repo",
    ),
    "Something else than a model": (
        "export modle -o out",
        "export . -o out",
        "export model/1_Pooling -o out",
        "export cache/models--owner--name -o out",
        "export artifact -o out",
        "export model/model.safetensors -o out",
        "export model/config.json -o out",
        "export static -o out",
        "export graph.onnx -o out",
        "export nowhere.onnx -o out",
        "export '' -o out",
        "inspect texts.txt",
    ),
    "Something else than an artifact": (
        "verify artefact",
        "verify model",
        "verify artifact/onnx",
        "verify artifact/manifest.json",
        "embed . -i texts.txt -o v.npy",
        "verify damaged",
        "embed damaged -i texts.txt -o v.npy",
        "verify damaged --json",
        "embed artifact --strategy max -i texts.txt -o v.npy",
        "embed artifact --target openvino -i texts.txt -o v.npy",
        "embed artifact --dtype fp16 -i texts.txt -o v.npy",
        "embed artifact --prompt-name title -i texts.txt -o v.npy",
        "embed artifact --provider cuda -i texts.txt -o v.npy",
        "build artifact --target tensorrt --strategy mean",
        "serve model --port 0",
        "serve artifact a=artifact/../artifact artifact/ --port 0",
        "serve artifact --strategy max --port 0",
        "deploy triton model -o repo",
        "deploy triton artifact -o repo --strategy max",
        "deploy triton artifact -o repo --prompt-name title",
        "deploy triton artifact -o repo --target tensorrt",
        "deploy triton artifact -o repo --name 'a b'",
    ),
    "Data": (
        "embed artifact -i nowhere.txt -o v.npy",
        "embed artifact -i semicolons.csv -o v.npy",
        "embed artifact -i columns.csv -o v.npy",
        "embed artifact -i columns.csv --column txt -o v.npy",
        "embed artifact -i ragged.csv -o v.npy",
        "embed artifact -i latin1.txt -o v.npy",
        "embed artifact -i sheet.xlsx -o v.npy",
        "embed artifact -i model -o v.npy",
        "embed artifact -i texts.txt -o v.csv",
        "embed artifact -i 'nowhere/*.parquet' -o parts",
        "embed artifact -i columns.csv --column txt -o parts",
        "embed artifact -i texts.txt --id-column id -o parts",
        "compare artifact --data nowhere.tsv",
        "compare artifact --data semicolons.csv",
        "compare artifact --data ragged.csv",
        "compare artifact --data scores.csv",
        "export model -o out --texts latin1.txt",
    ),
    "Places": (
        "embed artifact -i texts.txt -o texts.txt",
        "embed artifact -i texts.txt -o kept.npy",
        "embed artifact -i texts.txt -o nowhere/v.npy",
        "embed artifact -i texts.txt -o artifact/v.npy",
        "embed artifact -i texts.txt -o closed/v.npy",
        "embed artifact -i closed.txt -o v.npy",
        "embed artifact -i texts.txt -o full",
        "embed artifact -i texts.txt -o closed/parts",
        "embed artifact -i texts.txt -o artifact/parts",
        "serve artifact --host 192.0.2.1 --port 0",
        "serve artifact --port 0 --api-key-file nowhere.txt",
        "serve artifact --port 0 --tls-certificate texts.txt --tls-key texts.txt",
        "export model -o full",
        "export model -o full --force",
        "export model -o texts.txt",
        "export model -o closed/out",
        "export model -o /proc/x",
        "export model -o model",
        "embed artifact -i many.txt -o v.npy",  # no room: files may have 4096 bytes
        "report artifact -o full",
    ),
    "Without a network": (
        "export owner/name -o out",
        "export all-MiniLM-L6-v2 -o out",
        "verify owner/name",
        "inspect owner/name",
        "verify artifacts/minilm",
    ),
}

NOBODY = 65534


def make_desk(folder: Path) -> None:
    """The folder that the lines are written in."""
    from tests.artifacts import write_artifact
    from tests.models import tiny_checkpoint

    tiny_checkpoint(folder / "model")
    tiny_checkpoint(folder / "cache" / "models--owner--name" / "snapshots" / "0123456789abcdef")
    write_artifact(folder / "artifact")
    shutil.copytree(folder / "artifact", folder / "damaged")
    (folder / "damaged" / "tokenizer.json").write_bytes(b"{}")
    texts = {
        "texts.txt": "one text\nanother\n",
        "many.txt": "w1 w2\n" * 1000,
        "semicolons.csv": "id;text\n1;one, two\n",
        "columns.csv": "question,answer\nwhy,so\n",
        "ragged.csv": "text,score\none,1\ntwo\n",
        "scores.csv": "sentence1,sentence2,score\none,two,high\n",
        "static/config.json": '{"model_type": "model2vec"}',
        "graph.onnx": "no graph",
        "sheet.xlsx": "",
        "kept.npy": "mine",
        "full/mine.txt": "mine",
        "artifacts/mine.txt": "",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "latin1.txt").write_bytes("good\ncaf\xe9\n".encode("latin-1"))
    (folder / "closed.txt").touch(0o000)
    (folder / "closed").mkdir(0o555)


@contextlib.contextmanager
def circumstances(line: str) -> Iterator[None]:
    """No room, where files may have 4096 bytes; or another user than root, who may write anywhere."""
    room, user = resource.getrlimit(resource.RLIMIT_FSIZE), os.geteuid()
    if "many.txt" in line:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, room[1]))
    if "closed" in line and user == 0:
        os.setresuid(NOBODY, NOBODY, 0)
    yield
    if user == 0:
        os.setresuid(0, 0, 0)
    resource.setrlimit(resource.RLIMIT_FSIZE, room)


def main() -> None:
    """Run each line, and print what it said and how it ended: a list of [line, exit code, stdout, stderr]."""
    make_desk(Path.cwd())
    from exporter.commands.cli import run_command

    answers = []
    for line in (line for lines in LINES.values() for line in lines):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), circumstances(line):
            code = run_command(shlex.split(line))
        answers.append((line, code, out.getvalue(), err.getvalue()))
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
