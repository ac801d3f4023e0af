"""`python interop_client.py CLIENT ARTIFACT POOLING TEXTS VECTORS`: what a client makes of an artifact, by itself.

Runs in the client's own environment, so it imports nothing of this project. TEXTS is JSON, VECTORS a NumPy file.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Rows = Sequence[Any]


def sentence_transformers(artifact: str, pooling: str, texts: Sequence[str]) -> Rows:
    """By modules.json and onnx/model.onnx; the library pools by itself."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(artifact, backend="onnx", device="cpu").encode(texts, prompt="")


def sentence_transformers_openvino(artifact: str, pooling: str, texts: Sequence[str], hint: str = "f32") -> Rows:
    """The same graph in OpenVINO, which computes in bf16 where the CPU has it, unless it is told."""
    from sentence_transformers import SentenceTransformer

    options = {"INFERENCE_PRECISION_HINT": hint} if hint else {}
    given = {"file_name": "onnx/model.onnx", "export": False, "ov_config": options}
    return SentenceTransformer(artifact, backend="openvino", model_kwargs=given).encode(list(texts), prompt="")


def sentence_transformers_openvino_bf16(artifact: str, pooling: str, texts: Sequence[str]) -> Rows:
    """In the precision that OpenVINO chooses."""
    return sentence_transformers_openvino(artifact, pooling, texts, "")


def optimum_intel(artifact: str, pooling: str, texts: Sequence[str]) -> Rows:
    """Its vectors of tokens, pooled here."""
    from optimum.intel import OVModelForFeatureExtraction
    from transformers import AutoTokenizer

    given = {"subfolder": "onnx", "file_name": "model.onnx", "ov_config": {"INFERENCE_PRECISION_HINT": "f32"}}
    model = OVModelForFeatureExtraction.from_pretrained(artifact, **given)
    return _in_batches(model, AutoTokenizer.from_pretrained(artifact), pooling, texts)


def optimum(artifact: str, pooling: str, texts: Sequence[str]) -> Rows:
    """Its vectors of tokens, pooled here."""
    from optimum.onnxruntime import ORTModelForFeatureExtraction
    from transformers import AutoTokenizer

    model = ORTModelForFeatureExtraction.from_pretrained(artifact, subfolder="onnx", file_name="model.onnx")
    return _in_batches(model, AutoTokenizer.from_pretrained(artifact), pooling, texts)


def onnxruntime(artifact: str, pooling: str, texts: Sequence[str]) -> Rows:
    """The vectors that the graph itself pools; the limit as the folder tells it."""
    import onnxruntime
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{artifact}/tokenizer.json")
    tokenizer.enable_truncation(_read(artifact, "sentence_bert_config.json")["max_seq_length"])
    session = onnxruntime.InferenceSession(f"{artifact}/onnx/model.onnx", providers=["CPUExecutionProvider"])
    rows = []
    for text in texts:
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        rows.append(session.run(["sentence_embedding"], {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0])
    return rows


def fastembed(artifact: str, pooling: str, texts: Sequence[str]) -> Rows:
    """As a custom model, which takes the first output and pools it."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    kind = {"mean": PoolingType.MEAN, "cls": PoolingType.CLS, "lasttoken": PoolingType.LAST_TOKEN}[pooling]
    name, width = "poolfold/tried", _read(artifact, "config.json")["hidden_size"]
    TextEmbedding.add_custom_model(name, kind, True, ModelSource(hf=name), width, "onnx/model.onnx")
    return list(TextEmbedding(name, specific_model_path=artifact).embed(texts))


def _in_batches(model: Any, tokenizer: Any, pooling: str, texts: Sequence[str]) -> Rows:
    rows: list[Any] = []
    for start in range(0, len(texts), 16):
        feeds = dict(tokenizer(texts[start : start + 16], padding=True, truncation=True, return_tensors="np"))
        rows += _pooled(feeds, lambda given: np.asarray(model(**given).last_hidden_state), pooling)
    return rows


def _pooled(feeds: Mapping[str, Any], run: Callable[[Mapping[str, Any]], Any], pooling: str) -> Rows:
    rows = []
    for vectors, kept in zip(run(feeds), feeds["attention_mask"], strict=True):
        tokens = vectors[kept > 0]
        rows.append(tokens.mean(axis=0) if pooling == "mean" else tokens[0 if pooling == "cls" else -1])
    return rows


def _read(folder: str, name: str) -> Any:
    return json.loads(Path(folder, name).read_text())


if __name__ == "__main__":
    client, artifact, pooling, source, target = sys.argv[1:]
    vectors = globals()[client](artifact, pooling, json.loads(Path(source).read_text()))
    np.save(target, np.asarray(vectors, dtype=np.float32))
