"""How every route is added: for one visitor, its body bounded, with and without the last slash.

It knows no call of the API, only what all of them share.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message, Receive

from fluxui.api.answers import Urls
from fluxui.errors import TooLarge
from fluxui.studio import Studio
from fluxui.visitor import Visitor, visitor_of

MAX_JSON = 2**20

_visitor: ContextVar[Visitor] = ContextVar("visitor")


def visiting() -> Visitor:
    """Whom the call is for that runs now."""
    return _visitor.get()


def adder(api: FastAPI, tag: str, **common: Any) -> Callable[..., None]:
    """`add(method, path, endpoint, **options)`, for the routes of one part of the API."""

    def add(method: str, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        given: dict[str, Any] = {"route_class_override": JsonRoute, **common, **options}
        other = path.rstrip("/") if path.endswith("/") else f"{path}/"
        for shown, one in ((True, path), (False, other)):
            api.router.add_api_route(
                one, endpoint, methods=[method], tags=[tag], include_in_schema=shown, **given
            )

    return add


class JsonRoute(APIRoute):
    """Reads no more of a body than `limit` bytes, and refuses the rest unread."""

    limit = MAX_JSON

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            _visitor.set(visitor_of(request.scope))
            limit = self.limit
            declared = request.headers.get("content-length", "0")
            if declared.isdecimal() and int(declared) > limit:
                raise _too_large(limit)
            return await handle(Request(request.scope, _counted(request.receive, limit)))

        return bounded


def upload_route(mebibytes: int) -> type[JsonRoute]:
    """The same for files of at most this size."""
    return type("UploadRoute", (JsonRoute,), {"limit": mebibytes * 2**20})


async def small_body(request: Request) -> bytes:
    """A body of JSON where files are taken as well."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_JSON:
            raise _too_large(MAX_JSON)
    return body


def _counted(receive: Receive, limit: int) -> Receive:
    total = 0

    async def counted() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > limit:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit:,} bytes.", "Nothing of it was kept.")


def urls_of(studio: Studio, request: Request) -> Urls:
    """As the caller sees us: behind a proxy that says so, or under the root path."""
    root = studio.settings.root_path.rstrip("/")
    if root.startswith(("http://", "https://")):
        return Urls(root)

    def forwarded(name: str) -> str:
        return request.headers.get(f"x-forwarded-{name}", "").split(",")[0].strip()

    scheme = "https" if forwarded("proto") == "https" else request.url.scheme
    return Urls(f"{scheme}://{forwarded('host') or request.headers.get('host', '')}{root}")
