"""A stand-in for Hugging Face's login over real HTTP: it asks nobody, `name` is who is there."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

CLIENT, SECRET = "a-client", "a-secret"


class Provider(ThreadingHTTPServer):
    """`name` is anything that its userinfo shall say; `down` answers nothing but 503."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.name: Any = "bob"
        self.down = False
        self.codes: dict[str, dict[str, str]] = {}
        self.tokens: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        path, asked = self._asked(urlsplit(self.path).query)
        if self.server.down:
            self._answer({}, 503)
        elif path == "/.well-known/openid-configuration":
            names = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
            self._answer(
                {f"{one}_endpoint": f"{self.server.url}/oauth/{at}" for one, at in names.items()}
            )
        elif path == "/oauth/authorize":
            code = secrets.token_hex(8)
            self.server.codes[code] = asked
            self.send_response(302)
            back = urlencode({"code": code, "state": asked["state"]})
            self.send_header("Location", f"{asked['redirect_uri']}?{back}")
            self.end_headers()
        else:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            known = path == "/oauth/userinfo" and token in self.server.tokens
            told = {"sub": "1", "preferred_username": self.server.name}
            self._answer(told if known else {}, 200 if known else 401)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        path, given = self._asked(body)
        login = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        right = path == "/oauth/token" and self.headers.get("Authorization") == f"Basic {login}"
        began = self.server.codes.pop(given.get("code", ""), None)  # good for once
        if not right or began is None or began["redirect_uri"] != given["redirect_uri"]:
            self._answer({"error": "invalid_grant"}, 400)
            return
        token = secrets.token_hex(8)
        self.server.tokens.add(token)
        self._answer({"access_token": token, "token_type": "bearer"})

    def _asked(self, query: str) -> tuple[str, dict[str, str]]:
        return urlsplit(self.path).path, {name: one[0] for name, one in parse_qs(query).items()}

    def _answer(self, told: Any, status: int = 200) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def provider() -> Iterator[Provider]:
    with Provider() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
