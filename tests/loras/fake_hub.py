"""A Hub of our own, over real HTTP: repositories, ranges, licences, and lines that break."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

COMMIT = "1" * 40
TOKEN = "hf_right"


class FakeHub:
    """`files` are those of owner/name. `sent` counts their bytes, `asked` is each range of them."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.gated = False
        self.broken_after: int | None = None
        self.gone = False
        self.lies = False
        self.sent = 0
        self.asked: list[str] = []
        self.endpoint = ""

    def info(self) -> dict[str, Any]:
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                "blobId": "b",
                "lfs": {"size": len(data), "sha256": self._sha256(data), "pointerSize": 1},
            }
            for name, data in self.files.items()
        ]
        return {"id": "owner/name", "sha": COMMIT, "siblings": siblings, "tags": []}

    def _sha256(self, data: bytes) -> str:
        return hashlib.sha256(b"another" if self.lies else data).hexdigest()


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, _, _ = self.path.partition("?")
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            if token and token != TOKEN:
                self._refuse(401, "", "Invalid credentials in Authorization header")
            elif not path.removeprefix("/api/models").startswith("/owner/name"):
                self._refuse(401, "RepoNotFound", "Repository not found")
            elif "/revision/" in path and not path.endswith(("/main", COMMIT)):
                self._refuse(404, "RevisionNotFound", "Invalid rev id")
            elif path.startswith("/api/"):
                self._answer(200, json.dumps(hub.info()).encode())
            elif hub.gated and not token:
                self._refuse(401, "GatedRepo", "Access is restricted")
            else:
                self._file(path.partition(f"/resolve/{COMMIT}/")[2])

        def _file(self, name: str) -> None:
            hub.asked.append(self.headers.get("Range", ""))
            if hub.gone or name not in hub.files:
                return self._refuse(404, "EntryNotFound", "Entry not found")
            data, status = hub.files[name], 200
            if given := self.headers.get("Range"):
                start, _, last = given.removeprefix("bytes=").partition("-")
                end = int(last) + 1 if last else len(data)
                data, status = data[int(start) : end], 206
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if hub.broken_after is not None:
                data = data[: hub.broken_after]
                self.close_connection = True
            self.wfile.write(data)
            hub.sent += len(data)

        def _refuse(self, status: int, code: str, message: str) -> None:
            self._answer(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

        def _answer(self, status: int, body: bytes, headers: dict[str, str] = {}) -> None:  # noqa: B006
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quietly."""

    return Handler


@contextmanager
def serving_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """It runs, and everybody in this process takes it for the Hub."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    url = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "/nowhere")
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
