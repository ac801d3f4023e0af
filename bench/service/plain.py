"""What people write first: FastAPI over sentence-transformers, one request an `encode`, in FastAPI's threads."""

import os
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

_model: dict[str, Any] = {}


class Request(BaseModel):
    """What is asked."""

    input: str | list[str]


@asynccontextmanager
async def _life(_: FastAPI):  # noqa: ANN202
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(int(os.environ["THREADS"]))
    _model["model"] = SentenceTransformer(os.environ["MODEL"], device="cpu", local_files_only=True)
    yield


app = FastAPI(lifespan=_life)


@app.get("/health")
def health() -> str:
    """Whether it answers."""
    return "ok"


@app.post("/v1/embeddings")
def embed(request: Request) -> dict[str, Any]:
    """Embed."""
    texts = [request.input] if isinstance(request.input, str) else request.input
    vectors = _model["model"].encode(texts, show_progress_bar=False)
    return {"data": [{"embedding": vector.tolist()} for vector in vectors]}
