"""The routes of text-embeddings-inference: /embed, /embed_all, /tokenize and /info."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

import poolfold
from poolfold.encoder.call import read_prompt
from poolfold.serve.failures import Failure
from poolfold.serve.service import Asked, Service

_KINDS = {404: "Validation", 413: "Validation", 422: "Validation", 424: "Backend", 429: "Overloaded", 503: "Unhealthy"}
_SIDES = {"Left": "left", "Right": "right", "left": "left", "right": "right"}
_SIDE = Literal["Left", "Right", "left", "right"]


class Embed(msgspec.Struct, forbid_unknown_fields=True):
    """What POST /embed and /embed_all take. model and prompt are this service's own."""

    inputs: str | list[str]
    normalize: bool | None = None
    truncate: bool | None = None
    truncation_direction: _SIDE | None = None
    prompt_name: str | None = None
    dimensions: int | None = None
    model: str | None = None
    prompt: str | None = None


class Tokenize(msgspec.Struct, forbid_unknown_fields=True):
    """What POST /tokenize takes. model is this service's own."""

    inputs: str | list[str]
    add_special_tokens: bool = True
    prompt_name: str | None = None
    model: str | None = None


def texts_of(inputs: str | list[str]) -> list[str]:
    """The texts of `inputs`."""
    return [inputs] if isinstance(inputs, str) else inputs


def asked_of(service: Service, request: Embed) -> Asked:
    """What a request asks for. Vectors have unit length unless it says otherwise.

    Raises:
        Failure: it wants what the model never gives.
    """
    if request.normalize is False:
        served, _ = service.find(request.model, request.prompt_name)
        if served.encoder.model.modules[-1:] == ("normalize",):
            raise Failure(
                422, "normalize is false, and this model's own last module gives unit vectors. Leave normalize out."
            )
    side = None if request.truncation_direction is None else _SIDES[request.truncation_direction]
    return Asked(
        request.model,
        request.prompt_name,
        request.prompt,
        request.truncate,
        side,
        request.dimensions,
        normalize=request.normalize is not False,
    )


def tokenized(service: Service, request: Tokenize) -> list[list[dict[str, Any]]]:
    """Of each text its tokens, before anything is cut; start and stop in characters of the text behind its prompt."""
    texts = texts_of(request.inputs)
    service.require_texts(texts)
    served, name = service.find(request.model, request.prompt_name)
    prompt = read_prompt(served.encoder, None, name) if name is not None else ""
    found = served.encoder.tokenizer.tokens(texts, prompt, special_tokens=request.add_special_tokens)
    return [[token._asdict() for token in tokens] for tokens in found]


def info(service: Service) -> dict[str, Any]:
    """What GET /info gives of the first model."""
    served, limits = service.models.served[0], service.limits
    encoder = served.encoder
    return {
        "model_id": served.listed,
        "model_sha": encoder.identity,
        "model_dtype": encoder.dtype,
        "model_type": {"embedding": {"pooling": encoder.strategy}},
        "max_concurrent_requests": limits.connections,
        "max_input_length": encoder.max_seq_length,
        "max_batch_tokens": service.batch_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": limits.texts,
        "auto_truncate": limits.truncate,
        "tokenization_workers": 1,
        "version": poolfold.__version__,
        "docker_label": None,
        "dimensions": encoder.get_embedding_dimension(),
        "prompts": [name for name, text in encoder.prompts.items() if text],
        "models": [other.listed for other in service.models.served],
    }


def error_of(failure: Failure) -> tuple[int, dict[str, Any]]:
    """The status and the body of a failure."""
    return failure.status, {"error": failure.message, "error_type": _KINDS.get(failure.status, "Validation")}
