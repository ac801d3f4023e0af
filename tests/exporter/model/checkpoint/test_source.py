"""Folders, and hub ids against a hub of our own: a local server, and a local cache without any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from exporter.model.checkpoint.read import read_spec
from exporter.model.checkpoint.source import resolve_source
from exporter.spec.model import Source
from poolfold.errors import CheckpointError, InputError
from tests.artifacts import write_artifact
from tests.hub import COMMIT, NAME, environment, serve
from tests.models import tiny_checkpoint

SHA = "0123456789abcdef0123456789abcdef01234567"
ROOT = Path(__file__).parents[4]
RESOLVE = """
import sys
from exporter.model.checkpoint.source import resolve_source
from poolfold.errors import PoolfoldError
for argument in sys.argv[1:]:
    model, _, revision = argument.partition("@")
    try:
        source = resolve_source(model, revision or None)
        print("ok", source.name, source.revision, source.folder)
    except PoolfoldError as error:
        print(type(error).__name__, error)
"""


class Hub(BaseHTTPRequestHandler):
    """Answers as huggingface.co does for models that cannot be had."""

    def do_GET(self):
        name, _, revision = self.path.removeprefix("/api/models/").partition("/revision/")
        code, status = {"our/gated": ("GatedRepo", 403), "our/model": ("RevisionNotFound", 404)}.get(
            name, ("RepoNotFound", 401)
        )
        if name == "our/broken":
            code, status = "", 500
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", f"{name} at {revision}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815 - the name http.server calls

    def log_message(self, *_):
        pass


def resolve_apart(tmp_path, *arguments, retries=True, **environment):
    """Resolve in a process of its own, since huggingface_hub reads its environment once."""
    settings = {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    names = ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "http_proxy", "HTTP_PROXY", "ALL_PROXY")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    run = subprocess.run(
        [sys.executable, "-c", RESOLVE, *arguments],
        env=inherited | settings | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert retries or "Retrying" not in run.stderr, run.stderr
    return run.stdout.splitlines()


def test_a_folder_is_used_as_it_is(tmp_path):
    folder = tiny_checkpoint(tmp_path / "m")
    assert resolve_source(str(folder)) == Source(name=str(folder), folder=folder, revision=None)


def test_a_relative_folder_becomes_absolute(tmp_path, monkeypatch):
    folder = tiny_checkpoint(tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    assert resolve_source("m") == Source(name=str(folder), folder=folder, revision=None)


def test_a_folder_has_no_revision(tmp_path):
    with pytest.raises(InputError, match="revision 'main' was given"):
        resolve_source(str(tmp_path), "main")


@pytest.mark.parametrize("name", ["model.safetensors", "graph.onnx.bak"])
def test_a_file_is_no_checkpoint(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"is a file; expected an \.onnx file, or the folder of a checkpoint"):
        resolve_source(str(tmp_path / name))


@pytest.mark.parametrize("model", ["./missing", "../missing", "/no/such/folder", "a/b/c", "~/missing-folder", "a b"])
def test_neither_folder_nor_hub_id(model):
    with pytest.raises(CheckpointError, match="is neither a folder nor a hub id"):
        resolve_source(model)


@pytest.mark.parametrize("model", ["", " "])
def test_an_empty_name(model):
    with pytest.raises(InputError, match="empty name"):
        resolve_source(model)


@pytest.mark.slow
def test_a_cached_model_is_found_offline_with_its_commit(tmp_path):
    cache = tmp_path / "hf" / "hub" / "models--our--model"
    folder = tiny_checkpoint(cache / "snapshots" / SHA)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(SHA)
    lines = resolve_apart(tmp_path, "our/model", "our/model@main", f"our/model@{SHA}", "our/other", HF_HUB_OFFLINE="1")
    assert lines[:3] == [f"ok our/model {SHA} {folder}"] * 3
    assert lines[3].startswith(
        "CheckpointError our/other is not a folder here, not in the local cache, and the hub cannot"
    )


@pytest.mark.slow
def test_what_the_hub_refuses_is_explained(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        lines = resolve_apart(
            tmp_path,
            "our/missing",
            "our/gated",
            "our/model@v9",
            "our/broken",
            HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}",
        )
    finally:
        server.shutdown()
        server.server_close()
    missing, gated, revision, broken = lines
    assert missing.startswith("CheckpointError our/missing is not a folder here, and the hub has no such public model")
    assert gated.startswith("CheckpointError our/gated is gated. Accept its terms")
    assert revision == "CheckpointError our/model has no revision 'v9'. Give a branch, a tag or a commit."
    assert broken.startswith("CheckpointError our/broken ")


@pytest.mark.parametrize("name", ["our", "our/model/1_Pooling", "artifact"])
def test_what_is_a_level_off_or_something_else_is_called_by_its_name(name, tmp_path):
    tiny_checkpoint(tmp_path / "our" / "model")
    write_artifact(tmp_path / "artifact")
    right = {
        "our": r"holds \S*/our/model\. Give one",
        "our/model/1_Pooling": r"one module of the checkpoint \S*/our/model\. Give that",
        "artifact": "is an artifact of poolfold, made from",
    }
    with pytest.raises(CheckpointError, match=right[name]):
        read_spec(resolve_source(str(tmp_path / name)))


def test_the_transformer_of_what_cannot_be_had_whole_is_a_checkpoint(tmp_path):
    folder = tiny_checkpoint(tmp_path / "m" / "0_Transformer")
    (folder / "modules.json").unlink()
    modules = [{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]
    (tmp_path / "m" / "modules.json").write_text(json.dumps([*modules, {"path": "1", "type": "their.own.Pooling"}]))
    assert read_spec(resolve_source(str(folder))).trained is None


@pytest.mark.slow
def test_a_name_without_an_owner_is_sentence_transformers_own(tmp_path):
    folder = tiny_checkpoint(tmp_path / "m")
    with serve(folder, "sentence-transformers/tiny") as (address, _):
        home = {"HF_HOME": str(tmp_path / "hf")}
        (line, other) = resolve_apart(tmp_path, "tiny", "other", HF_ENDPOINT=address, **home)
    assert line.startswith(f"ok sentence-transformers/tiny {COMMIT} ")
    assert other.startswith("CheckpointError other is not a folder here, and the hub has no such public model")
    # Without a hub: from the cache, or refused at once. The library would retry what is not there, and tell of it.
    line, other = resolve_apart(tmp_path, "tiny", "x", retries=False, HF_ENDPOINT="http://127.0.0.1:9", **home)
    assert other.startswith("CheckpointError x is not a folder here, not in the local cache")
    assert line.startswith(f"ok sentence-transformers/tiny {COMMIT} ")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["checkpoint", "artifact"])
def test_inspect_fetches_no_weights(what, tmp_path):
    {"checkpoint": tiny_checkpoint, "artifact": write_artifact}[what](tmp_path / "m")
    with serve(tmp_path / "m") as (address, requests):
        done = subprocess.run(
            [sys.executable, "-m", "poolfold", "inspect", NAME, "--json"],
            env=environment(address, tmp_path / "hf"), cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    fetched = {path.rpartition("/")[2] for path in requests if path.startswith("GET") and "/resolve/" in path}
    assert not [name for name in fetched if name.endswith((".safetensors", ".onnx", ".data", ".bin"))], fetched
    assert ("config.json" if what == "checkpoint" else "manifest.json") in fetched
