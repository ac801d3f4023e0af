"""Prompts as constants of the artifact: the vectors of the whole run, and of sentence-transformers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

import poolfold
from exporter.pipeline import fold_prompts
from exporter.spec.model import DType
from poolfold.errors import ArtifactError, CheckFailed, InputError
from poolfold.manifest import Manifest
from poolfold.sessions.behind_prompt import BehindPrompt
from tests.artifacts import rewrite_manifest
from tests.conftest import export_here
from tests.models import tiny_checkpoint

pytestmark = pytest.mark.e2e

PROMPTS = {"query": "represent this text: ", "document": "", "same": "represent this text: "}
GIVEN = {"web": "Instruct: find the page\nQuery:"}
TEXTS = ["one", "two words", "", "a longer text, with punctuation; and Ünïcödé 你好 🙂", "x " * 500, ": merges", "1"]


@pytest.fixture(scope="module", params=["qwen3", "mistral", "gemma3_text"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Manifest]:
    """Checkpoint, artifact and manifest; all pad left, and two have layers with a window."""
    folder = tmp_path_factory.mktemp(request.param)
    tiny_checkpoint(folder / "model", architecture=request.param, pooling="lasttoken", prompts=PROMPTS)
    manifest = export_here(
        folder / "model",
        folder / "out",
        targets=("onnxruntime", "openvino"),
        fold_prompts=GIVEN,
    )
    return folder / "model", folder / "out", manifest


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", ["query", "document", "web"])
def test_a_folded_prompt_gives_sentence_transformers_vectors(made: tuple[Path, Path, Manifest], target: str, name: str):
    checkpoint, artifact, _ = made
    model = SentenceTransformer(str(checkpoint), device="cpu", local_files_only=True)
    prompt = {**PROMPTS, **GIVEN}[name]
    with poolfold.load(artifact, target=target) as encoder:
        got = encoder.encode(TEXTS, batch_size=4, prompt_name=name)
        np.testing.assert_allclose(got, model.encode(TEXTS, prompt=prompt), atol=2e-5, rtol=1e-4)
        whole = dataclasses.replace(encoder, folded={})
        np.testing.assert_allclose(got, whole.encode(TEXTS, batch_size=4, prompt_name=name), atol=2e-6)


def test_the_tokens_of_the_prompt_are_not_computed(made: tuple[Path, Path, Manifest], monkeypatch: pytest.MonkeyPatch):
    _, artifact, manifest = made
    assert [(p.name, p.text) for p in manifest.folded_prompts] == [("query", PROMPTS["query"]), *GIVEN.items()]
    ran: list[int] = []
    run_behind = BehindPrompt.run_behind

    def counting(self: BehindPrompt, states: Any, ids: Any, mask: Any) -> Any:
        ran.append(int(mask.sum()))
        return run_behind(self, states, ids, mask)

    monkeypatch.setattr(BehindPrompt, "run_behind", counting)
    with poolfold.load(artifact) as encoder:
        ids = encoder.tokenizer.ids(["two words", "one"], PROMPTS["query"])
        encoder.encode(["two words", "one"], prompt_name="query")
        assert ran == [sum(map(len, ids)) - 2 * len(manifest.folded_prompts[0].ids)]
        encoder.encode(["two words", "one"], prompt="another prompt ")
        assert len(ran) == 1
        # No session but one, so that the weights are there once.
        assert isinstance(encoder.session, BehindPrompt)


def test_a_row_that_begins_with_other_ids_takes_the_whole_run(made: tuple[Path, Path, Manifest]):
    with poolfold.load(made[1]) as encoder:
        folded = encoder.folded[PROMPTS["query"]]
        begins, other = [*folded.ids, 9, 8], [*folded.ids[:-1], 9, 8]
        assert folded.behind([begins, other, list(folded.ids), [9]]) == {0: [9, 8]}


def test_what_the_manifest_says_is_what_is_checked(made: tuple[Path, Path, Manifest], tmp_path: Path):
    _, artifact, manifest = made
    assert {row.ran_on.form for row in manifest.parity} == {"prompted"}
    assert all("prompt_cosine" in row.checks for row in manifest.parity)
    assert {graph.status_on_cpu for graph in manifest.graphs} | {e.status for e in manifest.engines} == {"validated"}
    prompt = manifest.folded_prompts[0]
    content = (artifact / prompt.path).read_bytes()
    assert len(content) == 4 * np.prod(prompt.shape) and prompt.shape[2] == len(prompt.ids)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in manifest.files:
        (copy / file.path).parent.mkdir(exist_ok=True, parents=True)
        (copy / file.path).write_bytes((artifact / file.path).read_bytes())
    (copy / "manifest.json").write_bytes((artifact / "manifest.json").read_bytes())
    (copy / prompt.path).write_bytes(content[::-1])
    with pytest.raises(ArtifactError, match=prompt.path):
        poolfold.load(copy)
    (copy / prompt.path).write_bytes(content)
    rewrite_manifest(copy, manifest, folded_prompts=[{**_fields(prompt), "shape": [*prompt.shape[:3], 1]}])
    with pytest.raises(ArtifactError, match="Export the model again"):
        poolfold.load(copy, verify=False)


def _fields(prompt: Any) -> dict[str, Any]:
    return {name: getattr(prompt, name) for name in prompt.__struct_fields__}


def test_a_prompt_that_the_pooling_leaves_out_is_folded_for_the_mean(tmp_path: Path):
    checkpoint = tiny_checkpoint(
        tmp_path / "model", architecture="qwen3", pooling="mean", include_prompt=False, prompts=PROMPTS
    )
    manifest = export_here(checkpoint, tmp_path / "out", pooling=("mean", "weightedmean"))
    assert [bool(graph.prompted) for graph in manifest.graphs] == [True, False]
    model = SentenceTransformer(str(checkpoint), device="cpu", local_files_only=True)
    with poolfold.load(tmp_path / "out") as encoder:
        assert encoder.folded
        got = encoder.encode(TEXTS, prompt_name="query")
        np.testing.assert_allclose(got, model.encode(TEXTS, prompt_name="query"), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "changes", "reason"),
    [
        ("bert", {"pooling": ("cls",)}, "the pooling cls reads the prompt's own tokens"),
        ("qwen3", {"pooling": ("mean",)}, "the pooling mean reads the prompt's own tokens"),
        ("gemma3_text-bidirectional", {"pooling": ("lasttoken",)}, "the model is not causal"),
    ],
)
def test_a_prompt_that_cannot_be_folded_is_refused_where_it_was_asked_for(
    tmp_path: Path, architecture: str, changes: dict[str, Any], reason: str
):
    checkpoint = tiny_checkpoint(tmp_path / "model", architecture=architecture, pooling="lasttoken", prompts=PROMPTS)
    manifest = export_here(checkpoint, tmp_path / "out", **changes)
    assert manifest.folded_prompts == () and not any(graph.prompted for graph in manifest.graphs)
    with pytest.raises(InputError, match=reason):
        export_here(checkpoint, tmp_path / "other", fold_prompts=GIVEN, **changes)
    assert not (tmp_path / "other").exists()


def test_a_prompt_needs_a_graph_in_fp32(tmp_path: Path):
    checkpoint = tiny_checkpoint(tmp_path / "model", architecture="qwen3", pooling="lasttoken")
    with pytest.raises(InputError, match="--fold-prompt web needs --dtype fp32 or bf16, or int8 for a CPU"):
        export_here(checkpoint, tmp_path / "out", fold_prompts=GIVEN, dtypes=(DType.FP16,))


def test_another_name_for_a_prompt_of_the_model_shares_its_states(tmp_path: Path):
    checkpoint = tiny_checkpoint(tmp_path / "model", architecture="qwen3", pooling="lasttoken", prompts=PROMPTS)
    given = {"ask": PROMPTS["query"], **GIVEN}
    manifest = export_here(checkpoint, tmp_path / "out", fold_prompts=given)
    paths = {prompt.name: prompt.path for prompt in manifest.folded_prompts}
    assert paths == {"query": "prompts/0.bin", "ask": "prompts/0.bin", "web": "prompts/1.bin"}
    with poolfold.load(tmp_path / "out") as encoder:
        asked, queried = (encoder.encode(TEXTS, prompt_name=name) for name in ("ask", "query"))
        np.testing.assert_array_equal(asked, queried)


def test_a_name_that_the_model_has_for_another_prompt_is_refused(tmp_path: Path):
    checkpoint = tiny_checkpoint(tmp_path / "model", architecture="qwen3", pooling="lasttoken", prompts=PROMPTS)
    with pytest.raises(InputError, match=r"--fold-prompt query.*Give yours another name"):
        export_here(checkpoint, tmp_path / "out", fold_prompts={"query": "another: "})


def test_states_of_another_prompt_fail_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    checkpoint = tiny_checkpoint(tmp_path / "model", architecture="qwen3", pooling="lasttoken", prompts=PROMPTS)
    of = fold_prompts._States.of
    monkeypatch.setattr(fold_prompts._States, "of", lambda self, ids: of(self, ids[::-1]))
    with pytest.raises(CheckFailed, match="others behind a folded prompt: prompt_cosine"):
        export_here(checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_prompts_that_would_outweigh_the_model_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    checkpoint = tiny_checkpoint(tmp_path / "model", architecture="qwen3", pooling="lasttoken", prompts=PROMPTS)
    monkeypatch.setattr(fold_prompts, "_MOST", 0.0)
    monkeypatch.setattr(fold_prompts, "_ALWAYS", 0)
    assert export_here(checkpoint, tmp_path / "out").folded_prompts == ()
    # What the user names is folded whatever it takes.
    manifest = export_here(checkpoint, tmp_path / "given", fold_prompts=GIVEN)
    assert [prompt.name for prompt in manifest.folded_prompts] == ["web"]


@pytest.mark.parametrize(("prompt", "folded"), [("x " * 30, 1), ("x " * 200, 0), ("[beyond]", 0)])
def test_a_prompt_of_any_length_or_content_exports(tmp_path: Path, prompt: str, folded: int):
    """One that nearly fills the model's limit, one that is cut at it, and one whose token has no row in the table."""
    checkpoint = tiny_checkpoint(
        tmp_path / "model", architecture="qwen3", pooling="lasttoken", prompts={"query": prompt}
    )
    path = checkpoint / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    token = {"id": 5000, "content": "[beyond]", "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    tokenizer["added_tokens"].append({**token, **flags})
    path.write_text(json.dumps(tokenizer))
    manifest = export_here(checkpoint, tmp_path / "out")
    assert len(manifest.folded_prompts) == folded
