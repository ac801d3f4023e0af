"""An artifact is a model folder of the ecosystem: what other programs read there gives poolfold's vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer

import poolfold
from exporter.model.checkpoint.head import read_head
from exporter.model.checkpoint.library_config import read_library_config
from exporter.model.checkpoint.modules_json import read_modules
from exporter.model.checkpoint.pooling_config import read_pooling
from exporter.spec.model import DType
from exporter.spec.options import Layout
from graphs.pooling.head import Cut, apply_head
from graphs.pooling.strategy import parse_strategy, pool
from poolfold.manifest import Manifest, read_manifest
from poolfold.tokenise import pad
from poolfold.verify import verify
from tests.conftest import export_here
from tests.models import DenseLayer, tiny_checkpoint

HUB = {"layout": Layout.HUB, "token_embeddings": True}
TEXTS = ["a short text", "", "another one, which is somewhat longer than the first", "x " * 300, "é 漢字 😀"]
PROMPTS = {"query": "search for: ", "document": ""}

Matrix = npt.NDArray[np.float32]


def tokens_of(artifact: Path, texts: list[str]) -> dict[str, Matrix]:
    """As a client has it that knows nothing of poolfold: transformers' tokenizer of the folder, cut as that says."""
    tokenizer = AutoTokenizer.from_pretrained(artifact)
    made = tokenizer(texts, padding=True, truncation=True, return_tensors="np")
    return {name: made[name].astype(np.int64) for name in ("input_ids", "attention_mask")}


def run_plain(artifact: Path, feeds: dict[str, Any]) -> tuple[Matrix, Matrix]:
    session = onnxruntime.InferenceSession(artifact / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    hidden, vectors = session.run(None, feeds)
    return hidden, vectors


CASES: dict[str, dict[str, Any]] = {
    "bert": {"pooling": "mean", "prompts": PROMPTS},
    "dense": {"pooling": "cls", "dense": (DenseLayer(48), DenseLayer(24, bias=False, activation="Identity"))},
    "two modes": {"pooling": ["cls", "mean"], "normalize": False},
    "xlm-roberta": {"architecture": "xlm-roberta", "pooling": "mean", "prompts": PROMPTS, "include_prompt": False},
    "qwen3": {"architecture": "qwen3", "pooling": "lasttoken", "padding_side": "left", "prompts": PROMPTS},
    "gemma3_text": {"architecture": "gemma3_text", "pooling": "mean"},
}


@pytest.fixture(scope="module", params=CASES, ids=str)
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint and its artifact."""
    root = tmp_path_factory.mktemp("hub")
    checkpoint = tiny_checkpoint(root / "model", **CASES[request.param])
    export_here(checkpoint, root / "artifact", **HUB)
    return checkpoint, root / "artifact"


@pytest.mark.e2e
def test_what_plain_onnxruntime_gives(folders: tuple[Path, Path]) -> None:
    checkpoint, artifact = folders
    feeds = tokens_of(artifact, TEXTS)
    hidden, vectors = run_plain(artifact, feeds)
    with poolfold.load(artifact) as encoder:
        np.testing.assert_allclose(vectors, encoder.encode(TEXTS, prompt="", truncate=True), rtol=0, atol=1e-5)
        listed = encoder.encode(TEXTS, prompt="", truncate=True, output_value="token_embeddings")
    mask = feeds["attention_mask"]
    for row, of_tokens in enumerate(listed):
        assert isinstance(of_tokens, torch.Tensor) and of_tokens.shape == (mask[row].sum(), hidden.shape[2])
        np.testing.assert_allclose(of_tokens.numpy(), hidden[row][mask[row] > 0], rtol=0, atol=1e-5)
    # PyTorch's own vectors of tokens.
    model = AutoModel.from_pretrained(checkpoint).eval()
    with torch.inference_mode():
        wanted = model(**{name: torch.from_numpy(value) for name, value in feeds.items()}).last_hidden_state.numpy()
    np.testing.assert_allclose(hidden[mask > 0], wanted[mask > 0], rtol=0, atol=2e-5)


@pytest.mark.e2e
def test_what_the_files_say_gives_the_vectors(folders: tuple[Path, Path]) -> None:
    """Pooled and finished by a client, as modules.json says."""
    checkpoint, artifact = folders
    feeds = tokens_of(artifact, TEXTS)
    hidden, vectors = run_plain(artifact, feeds)
    _, pooled, *_ = read_modules(artifact)
    pooling = read_pooling(pooled.folder)
    by_hand = apply_head(pool(hidden, feeds["attention_mask"], pooling.strategy), read_head(artifact))
    np.testing.assert_allclose(by_hand, vectors, rtol=0, atol=1e-5)
    before, after = read_library_config(checkpoint), read_library_config(artifact)
    assert after == before
    assert pooling.include_prompt == read_pooling(read_modules(checkpoint)[1].folder).include_prompt
    limit = SentenceTransformer(str(checkpoint), device="cpu").max_seq_length
    assert json.loads((artifact / "sentence_bert_config.json").read_text())["max_seq_length"] == limit
    assert AutoTokenizer.from_pretrained(artifact).model_max_length == limit


@pytest.mark.e2e
def test_the_graph_is_one_that_older_runtimes_load(folders: tuple[Path, Path]) -> None:
    _, artifact = folders
    model = onnx.load(artifact / "onnx" / "model.onnx", load_external_data=False)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)] and model.ir_version == 9
    onnx.checker.check_model(artifact / "onnx" / "model.onnx")
    names = {entry.value for t in model.graph.initializer for entry in t.external_data if entry.key == "location"}
    assert names <= {"model.onnx_data"}


@pytest.mark.e2e
def test_the_manifest_tells_of_it(folders: tuple[Path, Path]) -> None:
    _, artifact = folders
    manifest = verify(artifact)
    assert manifest.portable is not None and manifest.portable.status == "validated"
    (row,) = [row for row in manifest.parity if row.ran_on.form == "portable"]
    assert row.executor == "onnxruntime cpu, portable" and row.passed
    listed = {file.path for file in manifest.files}
    assert {"modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "onnx/model.onnx"} <= listed
    card = (artifact / "README.md").read_text()
    assert "README.md" not in listed and "library_name: sentence-transformers" in card
    assert f'SentenceTransformer("{artifact.name}", backend="onnx")' in card


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def by_text_embeddings_inference(artifact: Path, texts: list[str]) -> Matrix:
    """By the rules of its router and its ONNX Runtime backend: up to eight rows, padded by config.json's id.

    Source: text-embeddings-inference, `router/src/lib.rs` and `backends/ort/src/lib.rs`.
    """
    config = read(artifact, "config.json")
    assert isinstance(config["architectures"], list) and isinstance(config["model_type"], str)
    assert isinstance(config["hidden_size"], int) and isinstance(config["num_hidden_layers"], int)
    assert isinstance(config.get("max_position_embeddings", config.get("n_positions")), int)
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    assert {type(read(artifact, "1_Pooling/config.json")[f"pooling_mode_{mode}"]) for mode in modes} == {bool}
    side = read(artifact, "tokenizer_config.json").get("padding_side", "right")
    assert side in ("left", "right")
    tokenizer = Tokenizer.from_file(str(artifact / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(read(artifact, "sentence_bert_config.json")["max_seq_length"], direction="right")
    pad_id = next((config[n] for n in ("pad_token_id", "eos_token_id") if isinstance(config.get(n), int)), 0)
    session = onnxruntime.InferenceSession(artifact / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    assert {value.name for value in session.get_inputs()} == {"input_ids", "attention_mask"}
    made: list[Matrix] = []
    for start in range(0, len(texts), 8):
        rows = [tokenizer.encode(text).ids for text in texts[start : start + 8]]
        ids, mask = pad(rows, side, pad_id)
        made += list(session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": mask})[0])
    return np.stack(made)


def by_vespa(artifact: Path, texts: list[str], pooling: str, *, normalize: bool) -> Matrix:
    """By the rules of its hugging-face-embedder: a row at a time, the token vectors pooled by its own `mean` or `cls`.

    Source: vespa, `HuggingFaceEmbedder.java`.
    """
    session = onnxruntime.InferenceSession(artifact / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(artifact / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(read(artifact, "sentence_bert_config.json")["max_seq_length"])
    made = []
    for text in texts:
        ids = np.array([tokenizer.encode(text).ids])
        (hidden,) = session.run(["last_hidden_state"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        vector = hidden[0].mean(axis=0) if pooling == "mean" else hidden[0][0]
        made.append(vector / np.linalg.norm(vector) if normalize else vector)
    return np.stack(made)


@pytest.mark.e2e
def test_text_embeddings_inference_reads_it_by_its_rules(folders: tuple[Path, Path]) -> None:
    _, artifact = folders
    with poolfold.load(artifact) as encoder:
        wanted = encoder.encode(TEXTS, prompt="", truncate=True)
    np.testing.assert_allclose(by_text_embeddings_inference(artifact, TEXTS), wanted, rtol=0, atol=1e-5)


@pytest.mark.e2e
def test_vespa_and_spring_ai_read_it_by_theirs(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Where their pooling is the model's; Spring AI hands ONNX Runtime the bytes of one file."""
    _, artifact = folders
    manifest = read_manifest(artifact)
    one = onnx.load(artifact / "onnx" / "model.onnx")
    session = onnxruntime.InferenceSession(one.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = tokens_of(artifact, TEXTS)
    for mine, theirs in zip(run_plain(artifact, feeds), session.run(None, feeds), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    pooling, after = manifest.model.trained_strategy, manifest.model.modules[2:]
    if pooling not in ("mean", "cls") or after not in ((), ("normalize",)):
        return
    with poolfold.load(artifact) as encoder:
        wanted = encoder.encode(TEXTS, prompt="", truncate=True)
    found = by_vespa(artifact, TEXTS, pooling, normalize=after == ("normalize",))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)


def small(tmp_path: Path, name: str, **changes: Any) -> Manifest:
    checkpoint = tmp_path / "model"
    if not checkpoint.exists():
        tiny_checkpoint(checkpoint, pooling="mean")
    return export_here(checkpoint, tmp_path / name, **HUB | changes)


@pytest.mark.e2e
@pytest.mark.parametrize("renormalize", [True, False])
def test_a_cut_is_where_it_was(tmp_path: Path, renormalize: bool) -> None:
    small(tmp_path, "cut", cut=Cut(8, renormalize))
    feeds = tokens_of(tmp_path / "cut", TEXTS)
    hidden, vectors = run_plain(tmp_path / "cut", feeds)
    by_hand = apply_head(pool(hidden, feeds["attention_mask"], parse_strategy("mean")), read_head(tmp_path / "cut"))
    assert vectors.shape[1] == 8
    np.testing.assert_allclose(by_hand, vectors, rtol=0, atol=1e-5)


@pytest.mark.e2e
def test_it_costs_next_to_nothing(tmp_path: Path) -> None:
    small(tmp_path, "hub")
    small(tmp_path, "own", layout=Layout.POOLFOLD, token_embeddings=False)
    sizes = [sum(p.stat().st_size for p in (tmp_path / name / "onnx").iterdir()) for name in ("hub", "own")]
    weights = (tmp_path / "hub/onnx/model.onnx_data").stat().st_size
    assert weights == (tmp_path / "own/onnx/weights_fp32.bin").stat().st_size
    graph = (tmp_path / "hub/onnx/model.onnx").stat().st_size
    assert sizes[0] - sizes[1] < 1.5 * graph


@pytest.mark.e2e
def test_the_layout_of_poolfold_has_nothing_else(tmp_path: Path) -> None:
    manifest = small(tmp_path, "own", layout=Layout.POOLFOLD, token_embeddings=False)
    names = {path.name for path in (tmp_path / "own").iterdir()}
    assert not names & {"modules.json", "1_Pooling", "README.md"} and manifest.portable is None
    with poolfold.load(tmp_path / "own") as encoder, pytest.raises(poolfold.InputError, match="no graph that gives"):
        encoder.encode(TEXTS, output_value="token_embeddings")
    tokens = small(tmp_path, "tokens", layout=Layout.POOLFOLD)
    assert tokens.portable is not None and not (tmp_path / "tokens/modules.json").exists()


@pytest.mark.e2e
def test_the_trained_strategy_is_the_one_that_others_get(tmp_path: Path) -> None:
    manifest = small(tmp_path, "three", pooling=("cls", "mean", "max"))
    assert manifest.portable is not None and manifest.portable.strategy == "mean"
    assert read_pooling(tmp_path / "three" / "1_Pooling").strategy == parse_strategy("mean")
    untrained = small(tmp_path, "two", pooling=("cls", "max"))
    assert untrained.portable is not None and untrained.portable.strategy == "cls"


@pytest.mark.e2e
def test_modes_in_another_order_than_the_librarys_are_not_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small(tmp_path, "other", pooling=("mean+cls",))
    assert not (tmp_path / "other/modules.json").exists() and (tmp_path / "other/onnx/model.onnx").exists()
    assert "concatenates mean+cls in another order" in capsys.readouterr().err


@pytest.mark.e2e
def test_an_artifact_of_fp16_alone_has_it_in_fp32(tmp_path: Path) -> None:
    small(tmp_path, "half", dtypes=(DType.FP16,))
    manifest = read_manifest(tmp_path / "half")
    assert [graph.weights for graph in manifest.graphs] == ["onnx/weights_fp16.bin"]
    _, vectors = run_plain(tmp_path / "half", tokens_of(tmp_path / "half", TEXTS))
    with poolfold.load(tmp_path / "half") as encoder:
        np.testing.assert_allclose(vectors, encoder.encode(TEXTS, truncate=True), rtol=0, atol=5e-3)


@pytest.mark.e2e
def test_token_vectors_have_what_a_vector_is_made_of(tmp_path: Path) -> None:
    small(tmp_path, "hub")
    with poolfold.load(tmp_path / "hub") as encoder:
        many = encoder.encode(TEXTS[:3], output_value=None)
        one = encoder.encode(TEXTS[0], output_value=None)
        assert set(one) == {"input_ids", "attention_mask", "token_embeddings", "sentence_embedding"}
        np.testing.assert_allclose(one["sentence_embedding"], encoder.encode(TEXTS[0]), rtol=0, atol=1e-6)
        pooled = torch.stack([features["token_embeddings"].mean(dim=0) for features in many])
        unit = torch.nn.functional.normalize(pooled)
        np.testing.assert_allclose(unit.numpy(), encoder.encode(TEXTS[:3]), rtol=0, atol=1e-5)
        assert encoder.encode([], output_value="token_embeddings") == []
        for features, array in zip(many, encoder.encode_tokens(TEXTS[:3], batch_size=2), strict=True):
            assert isinstance(array, np.ndarray)
            np.testing.assert_allclose(array, features["token_embeddings"], rtol=0, atol=1e-6)
    with pytest.raises(poolfold.InputError, match="closed"):
        encoder.encode(TEXTS, output_value="token_embeddings")


@pytest.mark.e2e
def test_a_byte_that_changed_is_found_when_it_is_opened(tmp_path: Path) -> None:
    small(tmp_path, "hub", dtypes=(DType.FP16,))
    weights = tmp_path / "hub/onnx/model.onnx_data"
    with poolfold.load(tmp_path / "hub") as encoder:
        data = bytearray(weights.read_bytes())
        data[100] ^= 1
        weights.write_bytes(data)
        with pytest.raises(poolfold.ArtifactError, match=r"model\.onnx_data.*changed since it was exported"):
            encoder.encode(TEXTS, output_value="token_embeddings")
