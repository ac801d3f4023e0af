from __future__ import annotations

import pytest

from exporter.model.checkpoint.modules_json import Module, ModuleKind, check_names, read_modules
from poolfold.errors import CheckpointError
from tests.models import write_json

PREFIXES = (
    "sentence_transformers.models.{name}",
    "sentence_transformers.models.{file}.{name}",
    "sentence_transformers.models.{name}.{name}",
    "sentence_transformers.base.modules.{file}.{name}",
    "sentence_transformers.sentence_transformer.modules.{file}.{name}",
    "sentence_transformers.sentence_transformer.modules.{name}",
)


def write(folder, *names, path=None):
    entries = [
        {"idx": i, "name": str(i), "path": f"{i}_x" if path is None else path, "type": name}
        for i, name in enumerate(names)
    ]
    write_json(folder / "modules.json", entries)
    return folder


def classes(*names):
    return [f"sentence_transformers.models.{name}" for name in names]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_class_path_the_library_has_used(tmp_path, prefix):
    behind = [kind for kind in ModuleKind if kind is not ModuleKind.STATIC]
    for number, kinds in enumerate((behind, [ModuleKind.STATIC, *behind[2:]])):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder, *(prefix.format(name=kind, file=kind.lower()) for kind in kinds))
        assert read_modules(folder) == tuple(Module(kind, folder / f"{i}_x") for i, kind in enumerate(kinds))


@pytest.mark.parametrize(
    "name",
    [
        *classes("Router", "Asym", "WordEmbeddings", "CNN", "LSTM", "SpladePooling", "CLIPModel", "LayerNorm"),
        *classes("WeightedLayerPooling", "BoW", "transformer"),
        "sentence_transformers.sparse_encoder.models.SpladePooling",
        "sentence_transformers.sparse_encoder.models.MLMTransformer",
        "sentence_transformers.cross_encoder.modules.Dense",
        "my_package.models.Pooling",
        "sentence_transformers_evil.models.Pooling",
        "custom_st.Transformer",
        "Pooling",
    ],
)
def test_any_other_module_is_named_and_refused(tmp_path, name):
    folder = write(tmp_path, *classes("Transformer"), name, *classes("Pooling"))
    with pytest.raises(CheckpointError) as error:
        read_modules(folder)
    assert repr(name) in str(error.value)
    assert "Supported: Transformer, StaticEmbedding, Pooling, Dense, Normalize, Dropout" in str(error.value)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ((), "lists no module, without a Pooling"),
        (("Transformer",), "lists Transformer, without a Pooling"),
        (("Transformer", "Normalize"), "without a Pooling"),
        (("Pooling",), "Expected Transformer -> Pooling"),
        (("Pooling", "Transformer"), "Expected Transformer -> Pooling"),
        (("Transformer", "Dense", "Pooling"), "lists Transformer -> Dense -> Pooling. Expected"),
        (("Transformer", "Pooling", "Pooling"), "with Pooling out of place"),
        (("Transformer", "Pooling", "Dense", "Transformer"), "with Transformer out of place"),
    ],
)
def test_any_other_order_is_refused(tmp_path, order, message):
    folder = write(tmp_path, *classes(*order))
    with pytest.raises(CheckpointError, match=message):
        read_modules(folder)


@pytest.mark.parametrize("path", ["/etc", "../other", "a/../../b", "..\\x"])
def test_a_module_outside_the_checkpoint_is_refused(tmp_path, path):
    with pytest.raises(CheckpointError, match="Expected a folder inside the checkpoint"):
        read_modules(write(tmp_path, *classes("Transformer", "Pooling"), path=path))


@pytest.mark.parametrize("entry", [{}, {"type": 3, "path": ""}, {"type": f"{classes('Pooling')[0]}"}])
def test_an_entry_without_type_or_path_is_refused(tmp_path, entry):
    write_json(tmp_path / "modules.json", [entry])
    with pytest.raises(CheckpointError, match="without type or path"):
        read_modules(tmp_path)


def test_names_default_to_the_sentence_embedding(tmp_path):
    for fine in ({}, {"module_input_name": "sentence_embedding"}, {"module_output_name": None}):
        check_names(fine, tmp_path)
    for other in ({"module_input_name": "token_embeddings"}, {"module_output_name": "token_embeddings"}):
        with pytest.raises(CheckpointError, match="only modules from sentence_embedding"):
            check_names(other, tmp_path)
