"""Which file is an encoder, and which folder says what it is."""

import hashlib

import onnx_ir as ir
import pytest

from exporter.model.checkpoint.graph_source import read_graph, resolve_graph
from exporter.model.checkpoint.read import read_spec
from exporter.model.checkpoint.source import resolve_source
from exporter.spec.origin import ONNX_FILE, Trust, origin_of
from graphs.encoder.foreign_encoder import ForeignEncoder
from graphs.pooling.strategy import strategy_name
from poolfold.errors import CheckpointError, InputError
from tests.foreign import foreign_folder, torchscript_encoder
from tests.models import HIDDEN, edit_json


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/model.onnx", True),
        ("MODEL.ONNX", True),
        ("absent.onnx", True),
        ("model.onnx.bak", False),
        ("org/onnx", False),
    ],
)
def test_a_file_is_told_by_its_name_whether_it_is_there_or_not(name, expected):
    assert (origin_of(name) is ONNX_FILE) is expected


def test_a_folder_of_that_name_is_a_folder(tmp_path):
    (tmp_path / "model.onnx").mkdir()
    assert origin_of(str(tmp_path / "model.onnx")) is not ONNX_FILE


def test_beside_the_file(tmp_path, monkeypatch):
    path = foreign_folder(tmp_path / "m", torchscript_encoder(layers=1))
    monkeypatch.chdir(tmp_path)
    source = resolve_source("m/model.onnx")
    assert (source.name, source.folder) == (str(path), path.parent)
    assert source.revision == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert source.graph.path == path
    assert source.graph.encoder == ForeignEncoder("last_hidden_state", HIDDEN, ("token_type_ids",))
    assert source.graph.shapes["embeddings.word_embeddings.weight"] == (300, HIDDEN)
    spec = read_spec(source)
    assert spec.trained is None
    assert spec.head == ()


def test_a_sentence_transformers_folder_above_says_pooling_and_head(tmp_path):
    path = foreign_folder(tmp_path / "m", torchscript_encoder(layers=1), layout="hub", pooling="lasttoken")
    spec = read_spec(resolve_graph(str(path)))
    assert spec.source.folder == spec.transformer == tmp_path / "m"
    assert strategy_name(spec.trained) == "lasttoken"
    assert [type(part).__name__ for part in spec.head] == ["Normalize"]


def test_a_copy_of_the_configuration_in_onnx_does_not_hide_the_modules_above(tmp_path):
    path = foreign_folder(tmp_path / "m", torchscript_encoder(layers=1), layout="hub")
    (path.parent / "config.json").write_text((tmp_path / "m" / "config.json").read_text())
    assert resolve_graph(str(path)).folder == tmp_path / "m"


def test_a_folder_that_merely_lies_in_another_checkpoint_is_its_own(tmp_path):
    foreign_folder(tmp_path / "m", torchscript_encoder(layers=1), layout="hub")
    path = foreign_folder(tmp_path / "m" / "mine", torchscript_encoder(layers=1))
    assert resolve_graph(str(path)).folder == tmp_path / "m" / "mine"


def test_weights_beside_the_graph_count_towards_its_hash(tmp_path):
    path = foreign_folder(tmp_path / "m", torchscript_encoder(layers=1), external=True)
    data = path.with_name("model.onnx_data")
    before = resolve_graph(str(path)).revision
    assert before == f"sha256:{hashlib.sha256(path.read_bytes() + data.read_bytes()).hexdigest()}"
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(content)
    assert resolve_graph(str(path)).revision != before


def test_options_of_a_checkpoint_are_refused(tmp_path):
    path = str(foreign_folder(tmp_path / "m", torchscript_encoder(layers=1)))
    with pytest.raises(InputError, match="is a file, and revision 'main' was given"):
        resolve_source(path, "main")
    with pytest.raises(InputError, match="Leave --allow-pickle out"):
        resolve_source(path, trust=Trust(allow_pickle=True))


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"gone\.onnx does not exist"):
        resolve_source(str(tmp_path / "gone.onnx"))
    path = foreign_folder(tmp_path / "m", torchscript_encoder(layers=1))
    (path.parent / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json beside it or in the folder above.*tokenizer\.json"):
        resolve_source(str(path))


def test_a_model_without_its_tokeniser_is_refused(tmp_path):
    path = foreign_folder(tmp_path / "m", torchscript_encoder(layers=1))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (path.parent / name).unlink()
    with pytest.raises(CheckpointError, match=r"Expected tokenizer\.json beside config\.json"):
        read_spec(resolve_graph(str(path)))


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", b"\xff" * 99])
def test_what_is_no_graph_is_refused(content, tmp_path):
    path = foreign_folder(tmp_path / "m", torchscript_encoder(layers=1))
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.onnx cannot (be read as an ONNX graph|become an encoder)"):
        resolve_graph(str(path))


def test_lost_and_truncated_weights_are_named(tmp_path):
    path = foreign_folder(tmp_path / "m", torchscript_encoder(layers=1), external=True)
    data = path.with_name("model.onnx_data")
    content = data.read_bytes()
    data.write_bytes(content[:-5])
    with pytest.raises(CheckpointError, match=r"model\.onnx_data ends before byte \d+, .*truncated"):
        resolve_graph(str(path))
    data.unlink()
    with pytest.raises(CheckpointError, match=r"keeps its weights in .*model\.onnx_data, which is missing"):
        resolve_graph(str(path))


def test_initializers_among_the_inputs_are_no_inputs(tmp_path):
    model = torchscript_encoder(layers=1)
    path = foreign_folder(tmp_path / "m", model)
    old = ir.load(path)
    old.graph.inputs.extend(old.graph.initializers.values())  # as before IR version 4
    ir.save(old, path)
    assert [value.name for value in read_graph(path).graph.inputs] == [value.name for value in model.graph.inputs]
    assert resolve_graph(str(path)).graph.encoder.folded == ("token_type_ids",)


def test_a_configuration_of_another_size_is_refused(tmp_path):
    path = foreign_folder(tmp_path / "m", torchscript_encoder(layers=1))
    edit_json(path.parent / "config.json", hidden_size=64)
    with pytest.raises(CheckpointError, match=r"gives token vectors of 32 values, and config\.json has hidden_size 64"):
        read_spec(resolve_graph(str(path)))
