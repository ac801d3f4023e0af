"""A stand-in for the Hugging Face hub on 127.0.0.1: one model, by the hub's HTTP interface, for reading and pushing."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

NAME, COMMIT = "our/model", "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("main", "v1", COMMIT)
TOKEN = "hf_ours"
"""Of whoever may push."""


@contextmanager
def serve(folder: Path, name: str = NAME) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder as a model, `our/model`.

    Yields:
        The address; the paths of all requests so far.
    """
    requests: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(f"{self.command} {self.path}")
            path = unquote(self.path.partition("?")[0])
            if path == "/api/whoami-v2" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, headers, body = 401, {}, b""
            elif path == "/api/whoami-v2":
                status, headers, body = 200, {"Content-Type": "application/json"}, b'{"name": "our", "type": "user"}'
            else:
                status, headers, body = _respond(folder, name, path)
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_POST(self) -> None:
            requests.append(f"{self.command} {self.path}")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            address = f"http://{self.headers['Host']}/{name}"
            status, answer = _take(folder, name, self.path.partition("?")[0], body) if allowed else (401, {})
            answer |= {"url": address, "commitUrl": f"{address}/commit/{COMMIT}"} if allowed else {}
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815 - the name http.server calls

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _respond(folder: Path, model: str, path: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body for a path."""
    if path.startswith(f"/api/models/{model}/"):
        kind, _, revision = path.removeprefix(f"/api/models/{model}/").partition("/")
        if revision.partition("/")[0] not in REVISIONS:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
        tree = [{"type": "file", "path": n, "size": p.stat().st_size, "oid": _tag(p)} for n, p in files.items()]
        info = {"id": model, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
        return 200, {"Content-Type": "application/json"}, json.dumps(tree if kind == "tree" else info).encode()
    if not path.startswith(f"/{model}/resolve/"):
        return 404, {"X-Error-Code": "RepoNotFound"}, b""
    revision, _, name = path.removeprefix(f"/{model}/resolve/").partition("/")
    if revision not in REVISIONS:
        return 404, {"X-Error-Code": "RevisionNotFound"}, b""
    if not (folder / name).is_file():
        return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
    return 200, {"X-Repo-Commit": COMMIT, "ETag": f'"{_tag(folder / name)}"'}, (folder / name).read_bytes()


def _take(folder: Path, model: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """Status and answer of what is pushed; files of a commit are written into the folder."""
    if path in ("/api/repos/create", "/api/validate-yaml"):
        return 200, {"id": model, "errors": [], "warnings": []}
    kind = path.removeprefix(f"/api/models/{model}/").partition("/")[0]
    if kind == "preupload":
        files = json.loads(body)["files"]
        return 200, {
            "files": [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False} for file in files]
        }
    if kind == "branch":
        return 200, {}
    if kind != "commit":
        return 404, {}
    for line in map(json.loads, body.splitlines()):
        place = folder / line["value"].get("path", "")
        if line["key"] == "file":
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(base64.b64decode(line["value"]["content"]))
        elif line["key"] == "deletedFile":
            place.unlink()
    return 200, {"success": True, "commitOid": COMMIT}


def environment(address: str, home: Path) -> dict[str, str]:
    """The environment of a process that uses the hub at an address, with an empty cache in `home`."""
    names = ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "http_proxy", "HTTP_PROXY", "ALL_PROXY")
    own = {"HF_ENDPOINT": address, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    return {name: value for name, value in os.environ.items() if name not in names} | own


def _tag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
