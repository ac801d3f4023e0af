from __future__ import annotations

import pytest

from exporter.model.checkpoint.transformer_config import load_config, size
from poolfold.errors import CheckpointError
from tests.architectures import ARCHITECTURES, HIDDEN, LAYERS
from tests.models import edit_json, plain_checkpoint, write_json

REMOTE = """
from transformers import PretrainedConfig
class TinyConfig(PretrainedConfig):
    model_type = "tiny-remote"
    hidden_size = 7
"""


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sizes_under_any_name(tmp_path, architecture):
    config = load_config(plain_checkpoint(tmp_path, architecture=architecture))
    assert (size(config, "hidden_size"), size(config, "num_hidden_layers")) == (HIDDEN, LAYERS)
    with pytest.raises(CheckpointError, match=f"this {ARCHITECTURES[architecture].model_type} has no_such_size None"):
        size(config, "no_such_size")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": ...}, "has no model_type"),
        ({"model_type": 7}, "has no model_type"),
        ({"model_type": "quite-new"}, "does not know. Upgrade transformers"),
        ({"model_type": "own", "auto_map": {"AutoModel": "model.Model"}}, "--trust-remote-code"),
        ({"hidden_size": "many"}, "not a configuration that transformers can read"),
        ({"quantization_config": {"quant_method": "fp8"}}, "is a quantised model"),
    ],
)
def test_what_cannot_be_an_encoder_is_refused(tmp_path, changes, message):
    edit_json(plain_checkpoint(tmp_path) / "config.json", **changes)
    with pytest.raises(CheckpointError, match=message):
        load_config(tmp_path)


@pytest.mark.parametrize("encoder_only", [{}, {"is_encoder_decoder": False}])
@pytest.mark.parametrize("model_type", ["bart", "umt5", "longt5", "prophetnet"])
def test_an_encoder_decoder_is_refused(tmp_path, model_type, encoder_only):
    write_json(tmp_path / "config.json", {"model_type": model_type} | encoder_only)
    with pytest.raises(CheckpointError, match=rf"is an encoder-decoder \({model_type}\), which is not supported"):
        load_config(tmp_path)


@pytest.mark.parametrize("encoder_only", [{}, {"is_encoder_decoder": False}])
@pytest.mark.parametrize("model_type", ["t5", "mt5"])
def test_but_not_where_the_encoder_alone_embeds(tmp_path, model_type, encoder_only):
    write_json(tmp_path / "config.json", {"model_type": model_type} | encoder_only)
    assert load_config(tmp_path).model_type == model_type


def test_remote_code_runs_by_flag_only(tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "m"
    write_json(folder / "config.json", {"model_type": "tiny-remote", "auto_map": {"AutoConfig": "tiny.TinyConfig"}})
    (folder / "tiny.py").write_text(REMOTE)
    with pytest.raises(CheckpointError, match="--trust-remote-code"):
        load_config(folder)
    assert size(load_config(folder, trust_remote_code=True), "hidden_size") == 7
