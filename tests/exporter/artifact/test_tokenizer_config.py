from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import msgspec
from transformers import AutoTokenizer

from exporter.artifact.layout import write_model_files
from exporter.artifact.tokenizer_config import tokenizer_config
from tests.exporter.model.reading import spec_of
from tests.models import edit_json, tiny_checkpoint


def test_the_limit_is_the_artifact_s_and_the_rest_the_checkpoint_s(checkpoint: Path) -> None:
    spec = spec_of(checkpoint)
    shorter = replace(spec, text=msgspec.structs.replace(spec.text, max_seq_length=9))
    own = json.loads((checkpoint / "tokenizer_config.json").read_text())
    assert own["model_max_length"] > 9
    assert tokenizer_config(shorter) == own | {"model_max_length": 9}


def test_without_a_tokenizer_config_the_limit_is_stated(tmp_path: Path) -> None:
    spec = spec_of(tiny_checkpoint(tmp_path))
    (tmp_path / "tokenizer_config.json").unlink()
    assert tokenizer_config(spec) == {"model_max_length": spec.text.max_seq_length}


def test_a_class_that_gives_other_ids_gives_way_to_the_file_s(tmp_path: Path) -> None:
    folder = tiny_checkpoint(tmp_path / "in", architecture="roberta", padding_side="left")
    gone = {"mask_token": "<gone>", "additional_special_tokens": ["<also gone>", "[SEP]"]}
    edit_json(folder / "tokenizer_config.json", tokenizer_class="LlamaTokenizer", pad_token=..., **gone)
    roles = {"pad_token": "[PAD]", "sep_token": "<gone, too>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(roles))
    spec = spec_of(folder)
    assert spec.tokenizer.differ > 0
    own = json.loads((folder / "tokenizer_config.json").read_text())
    del own["mask_token"], own["sep_token"]
    assert tokenizer_config(spec) == own | {
        "additional_special_tokens": ["[SEP]"],
        "model_input_names": ["input_ids", "attention_mask"],
        "pad_token": "[PAD]",
        "padding_side": "left",
        "tokenizer_class": "PreTrainedTokenizerFast",
        "truncation_side": "right",
    }
    (tmp_path / "out").mkdir()
    write_model_files(tmp_path / "out", spec)
    assert not (tmp_path / "out" / "special_tokens_map.json").exists()
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out")
    # [CLS] the [SEP]: WordPiece ids, as the file has them.
    assert theirs("the")["input_ids"] == [theirs.vocab[token] for token in ("[CLS]", "the", "[SEP]")]
    assert theirs.padding_side == "left"
