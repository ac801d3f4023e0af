"""What the routes take and give, as an OpenAPI document and as a page that needs no network."""

from __future__ import annotations

import html
import json
from typing import Any, NamedTuple

import msgspec

import poolfold
from poolfold.serve import openai, tei
from poolfold.serve.service import Service


class _Operation(NamedTuple):
    """One route. kind: of its body; example: a body."""

    method: str
    path: str
    summary: str
    kind: type | None = None
    example: Any = None


_OPERATIONS = (
    _Operation(
        "post", "/v1/embeddings", "Embed texts, as OpenAI's clients ask.", openai.Request, {"input": ["A text."]}
    ),
    _Operation("get", "/v1/models", "List the models."),
    _Operation("post", "/embed", "Embed texts, as text-embeddings-inference does.", tei.Embed, {"inputs": ["A text."]}),
    _Operation("post", "/embed_all", "The vector of every token.", tei.Embed, {"inputs": "A text."}),
    _Operation("post", "/tokenize", "The tokens of texts.", tei.Tokenize, {"inputs": "A text."}),
    _Operation("get", "/info", "Tell the model and the limits."),
    _Operation("get", "/health/live", "Whether the process answers."),
    _Operation("get", "/health/ready", "Whether it takes requests; /health is the same."),
    _Operation("get", "/metrics", "Counters for Prometheus."),
)
_ANSWERS = {
    "400": "The body is not what is expected.",
    "401": "The key is missing or wrong.",
    "404": "No such model or route.",
    "408": "The body did not arrive in time.",
    "413": "Too many bytes, texts or tokens.",
    "422": "A value that the model does not take; 400 under /v1.",
    "424": "A vector is not finite.",
    "429": "Too much waits: try again after the seconds of Retry-After.",
    "503": "Memory is out, or a library is missing.",
    "504": "The request took longer than it may.",
}


def document(service: Service) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    kinds = {operation.kind for operation in _OPERATIONS if operation.kind is not None}
    _, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {}
    for operation in _OPERATIONS:
        described: dict[str, Any] = {"summary": operation.summary, "responses": {"200": {"description": "Done."}}}
        if operation.kind is not None:
            content = {
                "schema": {"$ref": f"#/components/schemas/{operation.kind.__name__}"}, "example": operation.example
            }  # fmt: skip
            described["requestBody"] = {"required": True, "content": {"application/json": content}}
            described["responses"] |= {status: {"description": text} for status, text in _ANSWERS.items()}
        paths.setdefault(operation.path, {})[operation.method] = described
    models = ", ".join(served.listed for served in service.models.served)
    return {
        "openapi": "3.1.0",
        "info": {"title": "poolfold", "version": poolfold.__version__, "description": f"Serves {models}."},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def page(service: Service) -> str:
    """The same for a reader."""
    described = document(service)
    parts = [
        f"<h1>poolfold {html.escape(poolfold.__version__)}</h1><p>{html.escape(described['info']['description'])}</p>"
    ]
    for operation in _OPERATIONS:
        parts.append(f"<h2><code>{operation.method.upper()} {operation.path}</code></h2><p>{operation.summary}</p>")
        if operation.kind is not None:
            fields = described["components"]["schemas"][operation.kind.__name__]["properties"]
            rows = "".join(
                f"<tr><td><code>{name}</code></td><td>{html.escape(_type(kind))}</td>"
                f"<td>{html.escape(json.dumps(kind['default']) if 'default' in kind else 'required')}</td></tr>"
                for name, kind in fields.items()
            )
            parts.append(f"<table><tr><th>field</th><th>type</th><th>default</th></tr>{rows}</table>")
            parts.append(f"<pre>{html.escape(json.dumps(operation.example))}</pre>")
    rows = "".join(f"<tr><td>{status}</td><td>{html.escape(text)}</td></tr>" for status, text in _ANSWERS.items())
    parts.append(f"<h2>Other answers</h2><table>{rows}</table>")
    return _PAGE.format(body="\n".join(parts))


def _type(kind: dict[str, Any]) -> str:
    """A schema in words."""
    if "anyOf" in kind:
        return " or ".join(_type(part) for part in kind["anyOf"])
    if "enum" in kind:
        return " or ".join(json.dumps(value) for value in kind["enum"])
    if kind.get("type") == "array":
        return f"list of {_type(kind.get('items') or {}) or 'texts'}"
    return str(kind.get("type", ""))


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>poolfold</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }}
table {{ border-collapse: collapse }} td, th {{ text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top }}
pre {{ background: #f4f4f4; padding: .5rem; overflow-x: auto }} h2 {{ font-size: 1.1rem; margin-top: 2rem }}
</style></head><body>
{body}
</body></html>
"""
