from __future__ import annotations

import ast
import copy
import gc
import hashlib
import inspect
import json
import pickle  # noqa: TID251  # what is under test
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import poolfold
from poolfold import ArtifactError, InputError
from poolfold.integrations import embedder as room
from poolfold.integrations.embedder import open_config, open_embedder
from poolfold.manifest import read_manifest
from tests.artifacts import DIM, WORDS, model_values, rewrite_manifest, text_values, write_artifact
from tests.poolfold.integrations.conftest import documents, expected, queries

LIBRARIES = {
    "langchain": {"langchain_core", "pydantic"},
    "llama_index": {"llama_index"},
    "haystack": {"haystack"},
    "chroma": {"chromadb", "numpy"},
    "lancedb": {"lancedb", "numpy", "pydantic"},
    "qdrant": {"qdrant_client"},
    "sentence_transformers": {"sentence_transformers", "torch"},
    "mteb": {"mteb", "numpy"},
    "embedder": {"numpy"},
    "__init__": set[str](),
}


def test_queries_and_documents_have_prompts_of_their_own(folder: Path):
    opened = open_embedder(folder, threads=1)
    np.testing.assert_array_equal(opened.queries(["w1", "w2 w3"]), queries("w1", "w2 w3"))
    np.testing.assert_array_equal(opened.documents(["w1", "w2 w3"]), documents("w1", "w2 w3"))
    assert opened.query("w1") == queries("w1")[0].tolist()
    assert opened.dim == DIM


def test_a_caller_may_give_other_prompts_and_arguments(folder: Path):
    opened = open_embedder(folder, query_prompt="w4 ", document_prompt="", encode_kwargs={"truncate_dim": 3})
    np.testing.assert_array_equal(opened.queries(["w1"]), expected(["w4 w1"])[:, :3])
    np.testing.assert_array_equal(opened.documents(["w1"]), expected(["w1"])[:, :3])
    assert opened.dim == 3


def test_what_is_saved_is_plain_json_and_opens_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder.parent)
    opened = open_embedder("model", threads=1, document_prompt="", encode_kwargs={"truncate_dim": 3})
    saved = json.loads(json.dumps(opened.config))
    assert saved == {
        "artifact": str(folder),
        "identity": opened.encoder.identity,
        "threads": 1,
        "document_prompt": "",
        "encode_kwargs": {"truncate_dim": 3},
    }
    monkeypatch.chdir("/")
    again = open_config(saved)
    assert again.config == opened.config
    np.testing.assert_array_equal(again.documents(["w1"]), opened.documents(["w1"]))


def test_another_artifact_in_the_same_place_is_refused(folder: Path, put_another: Callable[[], None]):
    opened = open_embedder(folder)
    put_another()
    with pytest.raises(ArtifactError, match=rf"{folder} is not the artifact that was saved.*embed everything again"):
        open_config(opened.config)
    assert open_embedder(folder).encoder.identity != opened.encoder.identity


@pytest.mark.parametrize(
    "changes",
    [
        {"prompts": {"query": "w2 "}},
        {"max_seq_length": 9},
        {"truncation_side": "left"},
        {"default_prompt_name": "query"},
    ],
)
def test_what_changes_vectors_changes_the_identity(tmp_path: Path, changes: dict[str, Any]):
    write_artifact(tmp_path / "one")
    write_artifact(tmp_path / "other", model=model_values(text=text_values(**changes)))
    assert open_embedder(tmp_path / "one").encoder.identity != open_embedder(tmp_path / "other").encoder.identity


def test_what_was_measured_or_built_since_does_not(folder: Path):
    before = open_embedder(folder).config
    (folder / "engines").mkdir()
    (folder / "engines" / "x").write_bytes(b"built")
    manifest = read_manifest(folder)
    file = msgspec.structs.replace(
        manifest.files[0], path="engines/x", bytes=5, sha256=hashlib.sha256(b"built").hexdigest()
    )
    rewrite_manifest(folder, manifest, files=(*manifest.files, file), created="2027-01-01T00:00:00Z")
    assert open_config(before).config == before


def test_embedders_opened_alike_share_the_session_and_no_setting(folder: Path, put_another: Callable[[], None]):
    one, two, other = open_embedder(folder), open_embedder(folder), open_embedder(folder, threads=1)
    assert one.encoder.session is two.encoder.session is not other.encoder.session
    one.encoder.max_seq_length = 5
    assert two.encoder.max_seq_length == 16
    put_another()
    assert open_embedder(folder).encoder.session is not one.encoder.session
    np.testing.assert_array_equal(two.queries(["w1"]), queries("w1"))


def test_sessions_nobody_has_are_freed(folder: Path):
    gc.collect()
    before = len(room._shared)
    opened = open_embedder(folder, memory=1 << 30)
    assert len(room._shared) == before + 1
    del opened
    gc.collect()
    assert len(room._shared) == before


def test_it_is_pickled_by_how_it_was_opened(folder: Path, put_another: Callable[[], None]):
    opened = open_embedder(folder)
    pickled = pickle.dumps(opened)
    np.testing.assert_array_equal(pickle.loads(pickled).queries(["w1"]), queries("w1"))
    assert copy.deepcopy(opened) is opened
    put_another()
    with pytest.raises(ArtifactError, match="is not the artifact that was saved"):
        pickle.loads(pickled)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "cls"}, "cls"),
        ({"encode_kwargs": {"dimensions": 99}}, "dimensions is 99"),
        ({"revision": "main"}, "is a directory, and revision 'main' was given"),
    ],
)
def test_a_wrong_option_is_told_when_it_is_opened(folder: Path, options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        open_embedder(folder, **options)


def test_a_model_without_a_vector_for_a_word_opens(tmp_path: Path):
    write_artifact(tmp_path / "model", values=np.zeros((len(WORDS), DIM), np.float32))
    assert open_embedder(tmp_path / "model").dim == DIM


def test_an_argument_that_encode_has_not_is_a_type_error(folder: Path):
    with pytest.raises(TypeError, match="dimension"):
        open_embedder(folder, encode_kwargs={"dimension": 4})
    with pytest.raises(TypeError, match="thread"):
        open_embedder(folder, thread=1)  # type: ignore[call-arg]


def test_every_argument_of_load_may_be_given():
    arguments = inspect.signature(poolfold.load).parameters.keys() - {"directory"}
    assert room.Options.__annotations__.keys() == arguments | {*room._OWN}


def test_a_folder_that_is_no_artifact_is_refused(tmp_path: Path):
    with pytest.raises(ArtifactError):
        open_embedder(tmp_path)


def test_each_file_imports_its_library_alone():
    """So that each can be imported where the others are not installed."""
    folder = Path(room.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} == LIBRARIES.keys()
    for path in folder.glob("*.py"):
        nodes = [*ast.walk(ast.parse(path.read_text()))]
        names = [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        found = {name.split(".")[0] for name in names}
        assert found - {*sys.stdlib_module_names, "poolfold"} <= LIBRARIES[path.stem], path


def test_the_prompt_is_what_the_checkpoint_says(folder: Path):
    """The control: without it the vectors would differ."""
    bare = poolfold.load(folder).encode(["w1"], prompt="")
    assert not np.array_equal(bare, queries("w1"))
