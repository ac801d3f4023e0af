"""OpenAI's routes: /v1/embeddings and /v1/models. Its clients, and what is built on them, work as they are."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from poolfold.serve.failures import Failure
from poolfold.serve.service import Answer, Asked, Service

_KINDS = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
_IS_BAD = 422
"""A body that cannot be carried out has this status elsewhere, and 400 with OpenAI."""


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """What POST /v1/embeddings takes. prompt, prompt_name and truncate are this service's own."""

    input: Annotated[str | list[Any], msgspec.Meta(description="One text, or a list of them.")]
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None
    prompt_name: str | None = None
    prompt: str | None = None
    truncate: bool | None = None


def texts_of(given: str | list[Any]) -> list[str]:
    """The texts of `input`.

    Raises:
        Failure: an item is none; of token ids, with the reason.
    """
    texts = [given] if isinstance(given, str) else given
    for index, text in enumerate(texts):
        if isinstance(text, int) or (isinstance(text, list) and all(isinstance(token, int) for token in text)):
            raise Failure(
                _IS_BAD,
                "input holds token ids, which are another tokeniser's and mean nothing to this model. Send texts; "
                "with langchain's OpenAIEmbeddings, pass check_embedding_ctx_length=False.",
            )
        if not isinstance(text, str):
            raise Failure(_IS_BAD, f"input[{index}] is {_kind(text)}; expected a text.")
    return texts


def asked_of(request: Request) -> Asked:
    """What a request asks for."""
    return Asked(request.model, request.prompt_name, request.prompt, request.truncate, dimensions=request.dimensions)


def answered(request: Request, answer: Answer) -> dict[str, Any]:
    """The answer; its vectors as arrays, or as base64 of little-endian float32."""
    rows: Any = answer.made
    if request.encoding_format == "base64":
        rows = [base64.b64encode(row.tobytes()).decode() for row in np.ascontiguousarray(rows, dtype="<f4")]
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)],
        "model": answer.model,
        "usage": {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens},
    }


def models(service: Service, since: int) -> dict[str, Any]:
    """What GET /v1/models gives; since: when they were loaded, in seconds."""
    listed = [
        {"id": served.listed, "object": "model", "created": since, "owned_by": "poolfold"}
        for served in service.models.served
    ]
    return {"object": "list", "data": listed}


def error_of(failure: Failure) -> tuple[int, dict[str, Any]]:
    """The status and the body of a failure."""
    status = 400 if failure.status == _IS_BAD else failure.status
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    return status, {"error": {"message": failure.message, "type": kind, "param": None, "code": None}}


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", float: "a number", bool: "a truth value", type(None): "null"}
    return names.get(type(value), type(value).__name__)
