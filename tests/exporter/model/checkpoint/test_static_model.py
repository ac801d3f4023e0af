"""Static models of both libraries, read and exported, against the libraries themselves."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from model2vec import StaticModel
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

import poolfold
from exporter.model.checkpoint.read import read_spec
from exporter.model.checkpoint.source import resolve_source
from exporter.model.checkpoint.static_model import read_table
from exporter.model.pytorch import Reference, load_backbone
from exporter.parity.corpus import corpus
from exporter.spec.model import DType
from poolfold.errors import CheckFailed, CheckpointError, InputError
from tests.conftest import export_here

DIM = 24
TEXTS = ["the cat sat", "a", "cat cat mat", "the dog ran on the mat " * 30, "the xyz cat", "on"]
KNOWN = ["the", "cat", "sat", "a", "mat", "dog", "ran", "on", "rug", "and"]
# With those that an export is checked on, since a text of unknown words alone has no vector by model2vec.
CHECKED = {word for text in corpus(64) for word in re.findall(r"\w+|[^\w\s]+", text.lower())}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *KNOWN, *sorted(CHECKED - {*KNOWN, "xyz"})]


def tokenizer(cut: int | None = None) -> Tokenizer:
    """Words, with special tokens around that neither library asks for, and a padding to undo."""
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.enable_padding(length=64)
    if cut is not None:
        made.enable_truncation(cut, direction="left")
    return made


def table(rows: int = len(WORDS)) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(rows, DIM)).astype(np.float32)


def of_library(folder: Path, *, normalize: bool = False, cut: int | None = None, **options: Any) -> Path:
    modules = [StaticEmbedding(tokenizer(cut), embedding_weights=table()), *([Normalize()] if normalize else [])]
    SentenceTransformer(modules=modules, device="cpu", **options).save(str(folder))
    return folder


def of_model2vec(folder: Path, *, normalize: bool = True, **options: Any) -> Path:
    config = {"model_type": "model2vec", "architectures": ["StaticModel"]}
    StaticModel(table(), tokenizer(), config, normalize=normalize, **options).save_pretrained(folder)
    return folder


def library_vectors(folder: Path, texts: list[str]) -> npt.NDArray[np.float32]:
    return np.asarray(SentenceTransformer(str(folder), device="cpu").encode(texts))


def model2vec_vectors(folder: Path, texts: list[str], **options: Any) -> npt.NDArray[np.float32]:
    return np.asarray(StaticModel.from_pretrained(folder, **options).encode(texts), np.float32)


def embedded(folder: Path, output: Path, **options: Any) -> npt.NDArray[np.float32]:
    export_here(folder, output, **options)
    with poolfold.load(output) as encoder:
        return encoder.encode(TEXTS)


@pytest.mark.e2e
@pytest.mark.parametrize("normalize", [False, True])
def test_sentence_transformers_model(tmp_path: Path, normalize: bool):
    folder = of_library(tmp_path / "model", normalize=normalize)
    np.testing.assert_allclose(embedded(folder, tmp_path / "out"), library_vectors(folder, TEXTS), atol=1e-6)


@pytest.mark.e2e
def test_the_tokenizers_own_truncation_is_sentence_transformers_limit(tmp_path: Path):
    folder = of_library(tmp_path / "model", cut=3)
    np.testing.assert_allclose(embedded(folder, tmp_path / "out"), library_vectors(folder, TEXTS), atol=1e-6)
    assert read_spec(resolve_source(str(folder)), longest=20).text.max_seq_length == 3


@pytest.mark.e2e
def test_prompts_and_a_cut_of_sentence_transformers_model(tmp_path: Path):
    folder = of_library(tmp_path / "model", prompts={"query": "the dog "}, truncate_dim=8)
    export_here(folder, tmp_path / "out")
    theirs = SentenceTransformer(str(folder), device="cpu")
    with poolfold.load(tmp_path / "out") as encoder:
        assert encoder.dim == 8
        np.testing.assert_allclose(encoder.encode_query(TEXTS), theirs.encode_query(TEXTS), atol=1e-6)


@pytest.mark.e2e
def test_model2vecs_model_leaves_unknown_words_out(tmp_path: Path):
    folder = of_model2vec(tmp_path / "model")
    ours = embedded(folder, tmp_path / "out")
    np.testing.assert_allclose(ours, model2vec_vectors(folder, TEXTS), atol=1e-6)
    assert not np.allclose(ours, library_vectors(folder, TEXTS), atol=1e-3), (
        "the premise: sentence-transformers does not"
    )
    with poolfold.load(tmp_path / "out") as encoder, pytest.raises(CheckFailed, match="zero"):
        encoder.encode(["xyz"])
    with poolfold.load(tmp_path / "out") as encoder, pytest.raises(InputError, match="token"):
        encoder.encode([""])


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_weights_mapping_and_small_types_of_model2vec(tmp_path: Path, dtype: str):
    rows, rng = 5, np.random.default_rng(1)
    vectors = (table(rows) * 40).astype(dtype)
    mapping = rng.integers(0, rows, len(WORDS))
    weights = rng.random(len(WORDS)).astype(np.float32)
    config = {"model_type": "model2vec"}
    made = StaticModel(vectors, tokenizer(), config, normalize=True, weights=weights, token_mapping=mapping)
    made.save_pretrained(tmp_path / "model")
    spec = read_spec(resolve_source(str(tmp_path / "model")))
    reference = Reference(load_backbone(spec), spec.head)
    known = "the cat sat on a mat"
    ids = np.array([[WORDS.index(word) for word in known.split()]])
    assert spec.trained is not None
    (vector,) = reference.embed(ids, np.ones_like(ids), (spec.trained,))[spec.trained]
    np.testing.assert_allclose(
        vector, model2vec_vectors(tmp_path / "model", [known])[0], atol=1e-3 if dtype == "float16" else 1e-6
    )


def test_a_table_in_bfloat16(tmp_path: Path):
    folder = of_library(tmp_path / "model")
    stored = torch.from_numpy(table()).to(torch.bfloat16)
    save_torch({"embedding.weight": stored}, folder / "model.safetensors")
    np.testing.assert_array_equal(read_table(folder).vectors, stored.float().numpy())


def test_the_limit_is_model2vecs_and_else_open(tmp_path: Path):
    spec = read_spec(resolve_source(str(of_model2vec(tmp_path / "model"))))
    assert (spec.text.max_seq_length, spec.model_type, spec.num_layers) == (512, "static", 0)
    assert read_spec(resolve_source(str(of_model2vec(tmp_path / "short", max_length=7)))).text.max_seq_length == 7
    library = resolve_source(str(of_library(tmp_path / "library")))
    assert read_spec(library).text.max_seq_length == 2048
    assert read_spec(library, longest=20_000).text.max_seq_length == 20_000
    assert read_spec(resolve_source(str(tmp_path / "model")), longest=20).text.max_seq_length == 20


def test_a_folder_without_modules_is_read_by_its_configuration(tmp_path: Path):
    folder = of_model2vec(tmp_path / "model")
    whole = read_spec(resolve_source(str(folder)))
    (folder / "modules.json").unlink()
    bare = read_spec(resolve_source(str(folder)))
    assert (bare.head, bare.text, bare.trained) == (whole.head, whole.text, whole.trained)


def test_a_folder_of_sentence_transformers_older_layout(tmp_path: Path):
    folder = of_library(tmp_path / "model")
    (folder / "0_StaticEmbedding").mkdir()
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.move(folder / name, folder / "0_StaticEmbedding" / name)
    modules = [
        {"idx": 0, "name": "0", "path": "0_StaticEmbedding", "type": "sentence_transformers.models.StaticEmbedding"}
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    spec = read_spec(resolve_source(str(folder)))
    assert (spec.transformer, spec.hidden_size) == (folder / "0_StaticEmbedding", DIM)


def stored(folder: Path, **changes: npt.NDArray[Any]) -> None:
    """Write the table again with tensors changed or added."""
    weights = folder / "model.safetensors"
    save_file({**load_file(weights), **changes}, weights)


def configured(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


NOT_FINITE = np.where(np.arange(table().size).reshape(table().shape) == 7, np.float32(np.nan), table())
DAMAGES: dict[str, Callable[[Path], object]] = {
    "no weights": lambda folder: (folder / "model.safetensors").unlink(),
    "cut": lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:200]),
    "other tensors": lambda folder: save_file({"layer.weight": table()}, folder / "model.safetensors"),
    "another type": lambda folder: stored(folder, embeddings=np.ones((4, 4), np.uint8)),
    "no number": lambda folder: configured(folder, max_length="long"),
    "not finite": lambda folder: stored(folder, embeddings=NOT_FINITE),
    "fewer rows": lambda folder: stored(folder, embeddings=table(5)),
    "mapped beyond": lambda folder: stored(folder, mapping=np.full(len(WORDS), 10**6)),
    "fewer weights": lambda folder: stored(folder, weights=np.ones(3, np.float32)),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "no JSON": lambda folder: (folder / "tokenizer.json").write_text("{"),
}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no weights", r"has no model\.safetensors"),
        ("cut", "truncated or corrupt"),
        ("other tensors", r"has layer\.weight \(F32\); expected embedding\.weight or embeddings"),
        ("another type", r"has embeddings \(U8\); expected .* in F64, F32, F16, BF16, I8"),
        ("no number", "has max_length 'long'; expected a number of tokens"),
        ("not finite", r"1 of \d+ values that are NaN or infinite"),
        ("fewer rows", r"ids up to \d+, the table has 5 rows"),
        ("mapped beyond", r"maps tokens beyond its \d+ vectors"),
        ("fewer weights", r"has 3 weights for \d+ tokens"),
        ("no tokenizer", r"has no tokenizer\.json"),
        ("no JSON", r"tokenizer\.json cannot be read"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, name: str, message: str):
    folder = of_model2vec(tmp_path / "model")
    DAMAGES[name](folder)
    with pytest.raises(CheckpointError, match=message):
        read_spec(resolve_source(str(folder)))


def test_unknown_words_left_out_and_no_normalisation_are_refused(tmp_path: Path):
    with pytest.raises(
        CheckpointError, match=r"leaves out '\[UNK\]', and nothing says that its vectors are normalised"
    ):
        read_spec(resolve_source(str(of_model2vec(tmp_path / "model", normalize=False))))


def test_a_module_beside_a_static_embedding_is_refused(tmp_path: Path):
    folder = of_library(tmp_path / "model")
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(CheckpointError, match="lists StaticEmbedding -> Pooling, with Pooling out of place"):
        read_spec(resolve_source(str(folder)))


@pytest.mark.e2e
@pytest.mark.slow
def test_other_strategies_precisions_and_targets(tmp_path: Path):
    folder = of_library(tmp_path / "model", normalize=True)
    options = {"pooling": ("mean", "max", "cls"), "dtypes": (DType.FP32, DType.FP16)}
    manifest = export_here(folder, tmp_path / "out", **options, targets=("onnxruntime", "openvino"))
    assert {graph.status for graph in manifest.graphs} == {"validated"}
    for target in ("onnxruntime", "openvino"):
        with poolfold.load(tmp_path / "out", "mean", target) as encoder:
            np.testing.assert_allclose(encoder.encode(TEXTS), library_vectors(folder, TEXTS), atol=1e-6)
