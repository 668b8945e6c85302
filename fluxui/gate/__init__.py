"""The gate in front of every door: who may come in, who that is, and which site may ask.

An ASGI middleware, because Gradio's own `auth=` leaves REST and /docs open. It knows no route
but the one that the launch itself calls. Anyone with the URL is a stranger here. Where strangers
can come everybody is a visitor of their own: by login, by an account, else by a signed cookie.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import sys
from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fluxui.errors import FluxuiError, Forbidden, TooLarge, Unauthorized
from fluxui.gate.cookies import Signer
from fluxui.gate.login import LoginPage, read_form, wants_page
from fluxui.gate.logins import GUEST, Logins
from fluxui.gate.oauth import Accounts
from fluxui.settings import LOOPBACK, Settings
from fluxui.visitor import OWNER, SCOPE_KEY, Visitor

# Gradio's launch calls this on its own port before it returns; it starts the queue, no more.
OPEN_PATHS = frozenset({"/gradio_api/startup-events"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})
VISITOR_COOKIE = "fluxui_visitor"
WRONG_SECONDS = 0.5
MAX_WAITING = 20
_T = TypeVar("_T")
SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def choose_hosts(settings: Settings) -> frozenset[str] | None:
    """The names this machine may be called by; None for any.

    On loopback another name means that a foreign page made its own name point here. Where
    strangers can come the name proves nothing, and the login guards; in Colab no browser is
    on this machine, and its proxy gives names of its own.
    """
    if settings.public or settings.in_space or "google.colab" in sys.modules:
        return None
    return LOOPBACK | ({own} if (own := _host_name(urlsplit(settings.root_path).netloc)) else set())


class Gate:
    """Login, host, origin and visitor, in front of `app`.

    With `cookies` whoever has no login of their own gets a cookie; without, there is no
    stranger, and who has come in without a login is the owner.
    """

    def __init__(
        self,
        app: ASGIApp,
        logins: Logins | None,
        hosts: frozenset[str] | None,
        root_path: str = "",
        cookies: Signer | None = None,
        page: LoginPage | None = None,
        framed: bool = False,
        accounts: Accounts | None = None,
    ) -> None:
        self._app = app
        self._logins = logins
        self._hosts = hosts
        self._own_origin = urlsplit(root_path).netloc
        self._cookies = cookies
        self._page = page
        self._framed = framed
        self._accounts = accounts
        self._known: dict[tuple[str, bytes], Visitor] = {}
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the lifespan; there is no websocket
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        met = await self._meet(scope, headers)
        if isinstance(met, FluxuiError):
            answer = await self._refused(met, scope, receive, headers)
            await answer(scope, receive, _guarded(send, {}))
            return
        visitor, cookie = self._named(met, scope, headers)
        guarded = _guarded(send, {"Set-Cookie": cookie} if cookie else {})
        await self._app({**scope, SCOPE_KEY: visitor}, receive, guarded)

    async def _meet(self, scope: Scope, headers: Headers) -> Visitor | FluxuiError:
        """Who asks, or why not."""
        host = headers.get("host", "")
        if self._hosts is not None and _host_name(host) not in self._hosts:
            return Forbidden(
                "fluxui is not known by this name.",
                "Open it as http://127.0.0.1, or set FLUXUI_ROOT_PATH to the address you use.",
            )
        if scope["path"] in OPEN_PATHS:
            return GUEST
        visitor = await self._admitted(self._logins, scope, headers) if self._logins else GUEST
        foreign = _foreign(scope["method"], headers, (host, self._own_origin))
        is_form = self._page is not None and self._page.is_form(scope)
        if foreign and (visitor or is_form):
            return Forbidden("Another site asked for this.", "Open fluxui in a tab of its own.")
        return visitor if visitor and not is_form else Unauthorized("A login is needed.")

    async def _refused(
        self, error: FluxuiError, scope: Scope, receive: Receive, headers: Headers
    ) -> Response:
        """The error; for a person without a login the page where to log in."""
        if self._page is None or not isinstance(error, Unauthorized):
            return _answer(error)
        if self._page.is_form(scope):
            return await self._log_in(self._page, scope, receive, headers)
        return self._page.ask(scope) if wants_page(scope, headers) else _answer(error)

    async def _log_in(
        self, page: LoginPage, scope: Scope, receive: Receive, headers: Headers
    ) -> Response:
        try:
            told = await read_form(receive)
        except TooLarge as error:
            return _answer(error)
        secure = _is_https(scope, headers)
        return await self._in_turn(lambda: page.answer(told, secure)) or page.ask_again(told)

    def _named(self, visitor: Visitor, scope: Scope, headers: Headers) -> tuple[Visitor, str]:
        """Who a guest is, by an account, by the cookie, or by a new one, which is the second."""
        if visitor != GUEST:
            return visitor, ""
        if self._cookies is None:
            return OWNER, ""
        told = headers.get("cookie", "")
        if self._accounts and (account := self._accounts.visitor(told)):
            return account, ""
        known = self._cookies.read(told)
        if known:
            return Visitor(f"guest:{known}"), ""
        new = secrets.token_hex(16)
        cookie = self._cookies.header(new, _is_https(scope, headers), self._framed)
        return Visitor(f"guest:{new}"), cookie

    async def _admitted(self, logins: Logins, scope: Scope, headers: Headers) -> Visitor | None:
        """By the header, else by the cookie. Those who came in before pass at once."""
        told = headers.get("authorization", "")
        address = scope["client"][0] if scope.get("client") else ""
        guest = (address, hashlib.sha256(told.encode()).digest())
        if guest in self._known:
            return self._known[guest]
        if not told:
            return self._page.visitor(headers.get("cookie", "")) if self._page else None
        visitor = await self._in_turn(lambda: logins.admit(told))
        if visitor is not None:
            self._known[guest] = visitor
        return visitor

    async def _in_turn(self, check: Callable[[], _T | None]) -> _T | None:
        """A new login waits its turn, and a wrong one holds the turn up: guessing is slow for
        everybody together."""
        if self._waiting >= MAX_WAITING:
            return None
        self._waiting += 1
        try:
            async with self._turn:
                found = check()
                if found is None:
                    await asyncio.sleep(WRONG_SECONDS)
                return found
        finally:
            self._waiting -= 1


def _host_name(host: str) -> str:
    """`[::1]:7860` → `::1`; "" for what is no host."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _foreign(method: str, headers: Headers, own: tuple[str, ...]) -> bool:
    """Whether a page of another site sends this, as far as its browser tells.

    A request with an Origin could also read the answer, since Gradio allows every origin on a
    public host. Programs send neither header, and a link from elsewhere only reads.
    """
    origin = headers.get("origin")
    if origin is None and method in READING:
        return False
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and urlsplit(origin).netloc not in filter(None, own)


def _answer(refusal: FluxuiError) -> JSONResponse:
    login = {"WWW-Authenticate": 'Basic realm="fluxui", charset="UTF-8"'}
    headers = login if isinstance(refusal, Unauthorized) else None
    return JSONResponse(refusal.as_dict(), refusal.status, headers)


def _is_https(scope: Scope, headers: Headers) -> bool:
    """Here, or at the proxy before us."""
    return "https" in (scope.get("scheme"), headers.get("x-forwarded-proto"))


def _guarded(send: Send, more: Mapping[str, str]) -> Send:
    """With the headers that every answer has, and `more`."""

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            for name, value in more.items():
                headers.append(name, value)
        await send(message)

    return guarded
