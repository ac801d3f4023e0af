from __future__ import annotations

import pytest

from exporter.model.checkpoint.library_config import LibraryConfig, read_library_config
from poolfold.errors import CheckpointError
from tests.models import write_json


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, LibraryConfig({}, None, "cosine", None)),
        ({"__version__": {}}, LibraryConfig({}, None, "cosine", None)),
        ({"prompts": {}, "similarity_fn_name": None}, LibraryConfig({}, None, "cosine", None)),
        (
            {"prompts": {"query": "q: ", "document": None}, "default_prompt_name": "query"}
            | {"similarity_fn_name": "dot", "truncate_dim": 64, "model_type": "SentenceTransformer"},
            LibraryConfig({"query": "q: "}, "query", "dot", 64),
        ),
    ],
)
def test_what_it_says(tmp_path, config, expected):
    if config is not None:
        write_json(tmp_path / "config_sentence_transformers.json", config)
    assert read_library_config(tmp_path) == expected


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "SparseEncoder"}, "is a 'SparseEncoder'; expected a SentenceTransformer"),
        ({"prompts": {"query": 3}}, "expected a text for each name"),
        ({"prompts": ["query: "]}, "expected a text for each name"),
        ({"default_prompt_name": "query"}, "default_prompt_name 'query'; expected one of"),
        ({"similarity_fn_name": "maxsim"}, "similarity_fn_name 'maxsim'; expected one of cosine"),
        ({"truncate_dim": 0}, "truncate_dim 0"),
        ({"truncate_dim": 1.5}, "truncate_dim 1.5"),
    ],
)
def test_what_it_cannot_mean(tmp_path, config, message):
    write_json(tmp_path / "config_sentence_transformers.json", config)
    with pytest.raises(CheckpointError, match=message):
        read_library_config(tmp_path)
