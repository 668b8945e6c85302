from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from fluxui.errors import ConfigurationError
from fluxui.gate.proxy import ProxyHeaders, choose_trusted
from fluxui.settings import Settings

TOLD = {
    "x-forwarded-for": "203.0.113.9",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "evil.test",
    "x-gradio-server": "http://evil.test",
}


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope)
    told = [name for name in request.headers if name.startswith("x-")]
    client = request.client.host if request.client else ""
    await JSONResponse([told, scope["scheme"], client])(scope, receive, send)


def ask(peer: str | None, trusted: str, app: Any = echo) -> list[dict[str, Any]]:
    """What comes back through uvicorn's middleware and ours, from this address."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in TOLD.items()],
        "client": (peer, 40000) if peer else None,
    }
    stack: Any = ProxyHeadersMiddleware(ProxyHeaders(app, trusted), trusted)
    asyncio.run(stack(scope, receive, send))
    return sent


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("127.0.0.1", "127.0.0.1,::1"),
        ("::1", "127.0.0.1,::1"),
        ("10.1.2.3", "127.0.0.1, 10.0.0.0/8"),
        ("192.0.2.1", "*"),
    ],
)
def test_a_trusted_proxy_is_believed(peer: str, trusted: str) -> None:
    told = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]
    body = JSONResponse([told, "https", "203.0.113.9"]).body
    assert ask(peer, trusted)[1]["body"] == body


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [("192.0.2.1", "127.0.0.1,::1"), ("10.1.2.3", "127.0.0.1"), ("127.0.0.1", ""), ("::1", "::2")],
)
def test_nobody_else_is(peer: str, trusted: str) -> None:
    assert ask(peer, trusted)[1]["body"] == JSONResponse([[], "http", peer]).body


def test_a_peer_without_an_address_is_not() -> None:
    assert ask(None, "127.0.0.1")[1]["body"] == JSONResponse([[], "http", ""]).body


def test_streams_ask_nginx_to_flow() -> None:
    def answer(media_type: str) -> Any:
        sent = ask("127.0.0.1", "127.0.0.1", Response("x", media_type=media_type))
        return dict(sent[0]["headers"]).get(b"x-accel-buffering")

    assert answer("text/event-stream") == b"no"
    assert answer("text/html") is None


def test_where_only_a_proxy_can_come_from_it_is_trusted(settings: Settings) -> None:
    in_space = settings.model_copy(update={"system": "spaces"})
    assert choose_trusted(settings) == "127.0.0.1,::1"
    assert choose_trusted(in_space) == "*"


def test_nonsense_is_one_sentence() -> None:
    with pytest.raises(ConfigurationError, match="FORWARDED_ALLOW_IPS"):
        ProxyHeaders(echo, "the proxy")
