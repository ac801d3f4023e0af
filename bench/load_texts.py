"""In a worker: texts to vectors, tokenising included, by our `encode` and by other programs.

The batch that the worker is sent only tells how many rows to expect: the texts came with the load. Each library is
imported with its load, since some live in environments without the others.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from exporter.measure import worker
from exporter.measure.protocol import Embed

Vectors = npt.NDArray[np.float32]
LOCAL = "local/model"
"""What embed-anything knows a model by that is on this machine alone."""


def load_ours(
    directory: str, strategy: str, target: str, dtype: str, texts: Sequence[str], batch_size: int, threads: int
) -> Embed:
    """`encode` of our artifact; arguments as `poolfold.load`."""
    import poolfold

    encoder = poolfold.load(Path(directory), strategy=strategy, target=target, dtype=dtype, threads=threads)
    return _of(texts, lambda some: encoder.encode(some, batch_size=batch_size))


def load_sentence_transformers(
    folder: str, strategy: str, texts: Sequence[str], batch_size: int, threads: int
) -> Embed:
    """`encode` of sentence-transformers, with the strategy's pooling in the place of the checkpoint's."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    torch.set_num_threads(threads)
    model: Any = SentenceTransformer(folder, device="cpu", local_files_only=True)
    model[1] = Pooling(model[0].get_embedding_dimension(), strategy)
    return _of(texts, lambda some: model.encode(list(some), batch_size=batch_size, show_progress_bar=False))


def load_fastembed(folder: str, graph: str, dim: int, texts: Sequence[str], batch_size: int, threads: int) -> Embed:
    """`embed` of fastembed on a graph of token vectors, which it pools by their mean and scales to unit length."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    name = "local/all-MiniLM-L6-v2"
    # It asks for a source, and does not look there where the model's folder is given.
    source = ModelSource(hf=name)
    TextEmbedding.add_custom_model(name, PoolingType.MEAN, True, source, dim=dim, model_file=graph)
    model = TextEmbedding(name, specific_model_path=folder, threads=threads, cuda=False)
    return _of(texts, lambda some: np.stack(list(model.embed(list(some), batch_size=batch_size))))


def write_genai(artifact: str, folder: str) -> None:
    """Our graph of token vectors and the tokeniser as OpenVINO's files, in fp32, for `load_genai`."""
    import openvino
    from openvino_tokenizers import convert_tokenizer
    from transformers import AutoTokenizer

    graph = openvino.convert_model(f"{artifact}/onnx/model.onnx")
    for output in graph.outputs:
        if "last_hidden_state" not in output.names:
            graph.remove_result(output.get_node())
    openvino.save_model(graph, f"{folder}/openvino_model.xml", compress_to_fp16=False)
    tokenizer = AutoTokenizer.from_pretrained(artifact)
    openvino.save_model(convert_tokenizer(tokenizer), f"{folder}/openvino_tokenizer.xml")


def load_genai(folder: str, limit: int, dtype: str, texts: Sequence[str], batch_size: int, threads: int) -> Embed:
    """`embed_documents` of openvino-genai, so many texts at once; it pools, and scales to unit length."""
    from openvino_genai import TextEmbeddingPipeline

    config = TextEmbeddingPipeline.Config()
    config.pooling_type, config.normalize, config.max_length = TextEmbeddingPipeline.PoolingType.MEAN, True, limit
    hint = {"fp32": "f32"}.get(dtype, dtype)
    options = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads}
    pipeline = TextEmbeddingPipeline(folder, "CPU", config, **options)

    def encode(some: Sequence[str]) -> Vectors:
        parts = [list(some[start : start + batch_size]) for start in range(0, len(some), batch_size)]
        return np.concatenate([np.asarray(pipeline.embed_documents(part), np.float32) for part in parts])

    return _of(texts, encode)


def load_infinity(folder: str, texts: Sequence[str], batch_size: int, threads: int) -> Embed:
    """`embed` of infinity's engine, with PyTorch; what it is given at once it makes batches of."""
    import asyncio

    import torch
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs

    torch.set_num_threads(threads)
    arguments = EngineArgs(
        model_name_or_path=folder,
        engine="torch",
        device="cpu",
        batch_size=batch_size,
        model_warmup=False,
        compile=False,
        bettertransformer=False,
    )
    engine = AsyncEmbeddingEngine.from_args(arguments)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(engine.astart())

    def encode(some: Sequence[str]) -> Vectors:
        made, _ = loop.run_until_complete(engine.embed(sentences=list(some)))
        return np.stack(made).astype(np.float32)

    return _of(texts, encode)


def load_embed_anything(folder: str, texts: Sequence[str], batch_size: int, threads: int) -> Embed:
    """`embed_query` of embed-anything, with candle, from a folder that is laid out as the hub's cache."""
    import os

    os.environ |= {"HF_HOME": folder, "RAYON_NUM_THREADS": str(threads)}
    import embed_anything

    model = embed_anything.EmbeddingModel.from_pretrained_hf(LOCAL)
    config = embed_anything.TextEmbedConfig(batch_size=batch_size)

    def encode(some: Sequence[str]) -> Vectors:
        made = embed_anything.embed_query(list(some), embedder=model, config=config)
        return np.array([one.embedding for one in made], np.float32)

    return _of(texts, encode)


def vectors(function: str, arguments: Mapping[str, Any], threads: int) -> Vectors:
    """Load a system of this module and have its vectors, float32 [texts, dim]."""
    _, system = worker.load(function, arguments, threads)
    rows = np.ones((len(arguments["texts"]), 1), np.int64)
    embedded: Vectors = system.forward(rows, rows)
    return embedded


def _of(texts: Sequence[str], encode: Callable[[Sequence[str]], Vectors]) -> Embed:
    """All texts where as many rows are asked for; else the next so many, in turns, so that lengths change."""
    waiting = itertools.cycle(texts)

    def embed(input_ids: npt.NDArray[np.int64], attention_mask: npt.NDArray[np.int64]) -> Vectors:
        rows = len(input_ids)
        return encode(texts if rows == len(texts) else list(itertools.islice(waiting, rows)))

    return embed
