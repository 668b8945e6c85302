"""A server on this machine that remembers what it is sent, over HTTP or HTTPS."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class Receiver(HTTPServer):
    """Answers with `statuses`, one after another, then 204; a redirect leads to `elsewhere`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.met: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        self.elsewhere = f"http://127.0.0.1:{self.server_port}/elsewhere"

    def until(self, count: int) -> None:
        """Wait until it met so many."""
        deadline = time.monotonic() + 10
        while len(self.met) < count:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # somebody did not trust us


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.met.append((self.path, dict(self.headers), body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        self.send_header("Location", self.server.elsewhere)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def receiving(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """While it runs; with a `context` it speaks TLS."""
    with Receiver() as server:
        if context:
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
