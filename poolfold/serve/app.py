"""The routes, and what all of them share: keys, request ids, logs, metrics and errors."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from poolfold.serve import openai, openapi, tei
from poolfold.serve.body import Bodies
from poolfold.serve.failures import Failure, failure_of
from poolfold.serve.logs import NAME
from poolfold.serve.metrics import TEXT, Metrics
from poolfold.serve.service import Answer, Asked, Service

_log = logging.getLogger(NAME)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_OPEN = ("/health", "/health/live", "/health/ready")
"""For probes, which have no key."""
_CLIENT_GONE = 499
"""As nginx counts it; nobody reads that answer."""
_SHOWN = 100
"""Characters of a path, in answers and in the log."""

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(eq=False)
class State:
    """What the routes use; a reload changes the service's models and the keys.

    keys: digests of the keys; none where there is no key.
    since: when the models were loaded, in seconds.
    """

    service: Service
    metrics: Metrics
    keys: Sequence[bytes] = ()
    since: int = field(default_factory=lambda: int(time.time()))
    ready: bool = True


def digest(key: str) -> bytes:
    """Of one length whatever the key's, so that comparing takes the same time."""
    return hashlib.sha256(key.encode()).digest()


def make_app(state: State) -> Starlette:
    """The application of a state."""
    bodies = Bodies(state.service.limits.bytes)
    post = {
        "/v1/embeddings": _openai(state, bodies),
        "/embeddings": _openai(state, bodies),
        "/embed": _tei(state, bodies, state.service.embed),
        "/embed_all": _tei(state, bodies, state.service.embed_all),
        "/tokenize": _tokenize(state, bodies),
    }

    async def live(_: Request) -> Response:
        return Response(b"ok", media_type="text/plain")

    async def ready(_: Request) -> Response:
        return Response(b"ok" if state.ready else b"not ready", 200 if state.ready else 503, media_type="text/plain")

    get: Mapping[str, Handler] = {
        "/v1/models": _value(lambda: openai.models(state.service, state.since)),
        "/info": _value(lambda: tei.info(state.service)),
        "/openapi.json": _value(lambda: openapi.document(state.service)),
        "/health/live": live,
        "/health/ready": ready,
        "/health": ready,
    }

    async def metrics(_: Request) -> Response:
        return Response(state.metrics.page(), headers={"content-type": TEXT})

    async def page(_: Request) -> Response:
        return HTMLResponse(openapi.page(state.service))

    routes = [
        *(Route(path, _guarded(state, handler), methods=["POST"]) for path, handler in post.items()),
        *(Route(path, _guarded(state, handler), methods=["GET"]) for path, handler in get.items()),
        Route("/metrics", _guarded(state, metrics), methods=["GET"]),
        Route("/docs", _guarded(state, page), methods=["GET"]),
    ]

    async def no_route(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        status = error.status_code
        message = {
            404: f"there is no {request.url.path[:_SHOWN]}; see /docs.",
            405: f"{request.url.path} does not take {request.method[:20]}.",
        }.get(status, error.detail)

        async def fail(_: Request) -> Response:
            raise Failure(status, message)

        # Its path is a client's words, which would each be a series of their own.
        return await _guarded(state, fail, "other")(request)

    return Starlette(routes=routes, exception_handlers={HTTPException: no_route})


def _guarded(state: State, handler: Handler, counted_as: str | None = None) -> Handler:
    """A handler behind the key; its request is counted and logged, and each of its errors is an answer.

    `counted_as` stands for the path among the metrics; default: the path.
    """

    async def handle(request: Request) -> Response:
        began = time.perf_counter()
        given = request.headers.get("x-request-id", "")
        request.state.id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        request.state.facts = {}
        path = request.url.path
        try:
            _require_key(state, request)
            response = await handler(request)
        except (asyncio.CancelledError, ClientDisconnect):
            response = Response(status_code=_CLIENT_GONE)
        except Exception as error:
            failure = failure_of(error)
            if failure.status == 500:
                _log.exception("a bug", extra={"id": request.state.id, "path": path[:_SHOWN]})
            response = _failed(request, failure)
        response.headers["x-request-id"] = request.state.id
        seconds = time.perf_counter() - began
        state.metrics.request(counted_as or path, response.status_code, seconds)
        _log.log(
            logging.DEBUG if path in _OPEN or path == "/metrics" else logging.INFO,
            "request",
            extra={
                "id": request.state.id,
                "client": request.client.host if request.client else None,
                "method": request.method,
                "path": path[:_SHOWN],
                "status": response.status_code,
                "ms": round(seconds * 1000, 2),
                **request.state.facts,
            },
        )
        return response

    return handle


def _openai(state: State, bodies: Bodies) -> Handler:
    async def handle(request: Request) -> Response:
        state.service.require_room()
        async with bodies.read(request, openai.Request) as body:
            texts = openai.texts_of(body.input)
            answer = await _computed(state, request, texts, openai.asked_of(body), state.service.embed)
            return _json(openai.answered(body, answer))

    return handle


def _tei(state: State, bodies: Bodies, compute: Callable[..., Awaitable[Answer]]) -> Handler:
    async def handle(request: Request) -> Response:
        state.service.require_room()
        async with bodies.read(request, tei.Embed) as body:
            texts = tei.texts_of(body.inputs)
            answer = await _computed(state, request, texts, tei.asked_of(state.service, body), compute)
            return _json(list(answer.made))

    return handle


def _tokenize(state: State, bodies: Bodies) -> Handler:
    async def handle(request: Request) -> Response:
        async with bodies.read(request, tei.Tokenize) as body:
            return _json(await asyncio.to_thread(tei.tokenized, state.service, body))

    return handle


async def _computed(
    state: State, request: Request, texts: Sequence[str], asked: Asked, compute: Callable[..., Awaitable[Answer]]
) -> Answer:
    """What a request asks for; its place is free at once where its client leaves."""
    client = request.client.host if request.client else ""
    gone = asyncio.ensure_future(_leaves(request))
    try:
        async with asyncio.timeout(state.service.limits.seconds):
            answer = await compute(texts, asked, client, gone)
    finally:
        gone.cancel()
    request.state.facts = {"model": answer.model, "texts": len(texts), "tokens": answer.tokens}
    return answer


async def _leaves(request: Request) -> None:
    """Return once the client is gone; its body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _require_key(state: State, request: Request) -> None:
    if not state.keys or request.url.path in _OPEN:
        return
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    sent = digest(key.strip())
    # All are compared, so that the time tells nothing of which one is nearest.
    known = [hmac.compare_digest(sent, kept) for kept in state.keys]
    if scheme.lower() != "bearer" or not any(known):
        raise Failure(401, "the key is missing or wrong; expected the header Authorization: Bearer KEY.")


def _value(make: Callable[[], object]) -> Handler:
    async def handle(_: Request) -> Response:
        return _json(make())

    return handle


def _json(value: object, status: int = 200) -> Response:
    # orjson writes float32 as float32: half the digits, and the same value once it is read.
    return Response(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), status, media_type="application/json")


def _failed(request: Request, failure: Failure) -> Response:
    of_openai = request.url.path.startswith("/v1/") or request.url.path == "/embeddings"
    status, body = (openai if of_openai else tei).error_of(failure)
    response = _json(body, status)
    if failure.retry_after is not None:
        response.headers["retry-after"] = str(failure.retry_after)
    if failure.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    if failure.closes:
        response.headers["connection"] = "close"
    return response
