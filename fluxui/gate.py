"""The gate in front of every door: who may come in, and which site may ask for a change.

An ASGI middleware, because Gradio's own `auth=` leaves REST and /docs open. It knows no route
but the one that the launch itself calls. Anyone with the URL is a stranger here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
import sys
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fluxui.errors import ConfigurationError, FluxuiError, Forbidden, Unauthorized
from fluxui.settings import LOOPBACK, Settings

# Gradio's launch calls this on its own port before it returns; it starts the queue, no more.
OPEN_PATHS = frozenset({"/gradio_api/startup-events"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})
WRONG_SECONDS = 0.5
MAX_WAITING = 20
SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


@dataclass(frozen=True, repr=False)
class Logins:
    """Who may come in: `user:password` pairs, and keys for programs. Shows in no repr."""

    users: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    def accept(self, authorization: str) -> bool:
        """Whether the header is right. As slow for a near miss as for nonsense."""
        scheme, _, told = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return _one_of(told.strip(), self.keys)
        if scheme.lower() == "basic":
            pair = _decoded(told)
            return _one_of(pair, self.users) | _one_of(pair.partition(":")[2], self.keys)
        return False


def choose_logins(settings: Settings) -> Logins | None:
    """The logins of the settings; else, where strangers can come, a password made now.

    None means that there is no login: on this machine alone, with `--insecure`, and on a Space,
    whose own visibility rules. Raises ConfigurationError.
    """
    users = _users(settings.auth.get_secret_value()) if settings.auth else ()
    keys = (settings.api_key.get_secret_value(),) if settings.api_key else ()
    if users or keys:
        return Logins(users, keys)
    if settings.public and not settings.insecure and not settings.in_space:
        password = secrets.token_urlsafe(16)
        return Logins((f"fluxui:{password}",), (password,))
    return None


def _users(auth: str) -> tuple[str, ...]:
    users = tuple(pair.strip() for pair in auth.split(","))
    if not all(user.partition(":")[0] and user.partition(":")[2] for user in users):
        raise ConfigurationError(
            "FLUXUI_AUTH is not user:password.", "Several are divided by commas."
        )
    return users


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
    """Login, host and origin, in front of `app`."""

    def __init__(
        self,
        app: ASGIApp,
        logins: Logins | None,
        hosts: frozenset[str] | None,
        root_path: str = "",
    ) -> None:
        self._app = app
        self._logins = logins
        self._hosts = hosts
        self._own_origin = urlsplit(root_path).netloc
        self._known: set[tuple[str, bytes]] = set()
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the lifespan; there is no websocket
            await self._app(scope, receive, send)
            return
        refusal = await self._refusal(scope, Headers(scope=scope))
        if refusal:
            await _answer(refusal)(scope, receive, _guarded(send))
        else:
            await self._app(scope, receive, _guarded(send))

    async def _refusal(self, scope: Scope, headers: Headers) -> FluxuiError | None:
        host = headers.get("host", "")
        if self._hosts is not None and _host_name(host) not in self._hosts:
            return Forbidden(
                "fluxui is not known by this name.",
                "Open it as http://127.0.0.1, or set FLUXUI_ROOT_PATH to the address you use.",
            )
        if scope["path"] in OPEN_PATHS:
            return None
        if self._logins and not await self._admitted(self._logins, scope, headers):
            return Unauthorized("A login is needed.")
        if _foreign(scope["method"], headers, (host, self._own_origin)):
            return Forbidden("Another site asked for this.", "Open fluxui in a tab of its own.")
        return None

    async def _admitted(self, logins: Logins, scope: Scope, headers: Headers) -> bool:
        """A new login waits its turn, and a wrong one holds the turn up: guessing is slow for
        everybody together, while those who came in before pass at once."""
        told = headers.get("authorization", "")
        address = scope["client"][0] if scope.get("client") else ""
        guest = (address, hashlib.sha256(told.encode()).digest())
        if guest in self._known:
            return True
        if not told or self._waiting >= MAX_WAITING:
            return False
        self._waiting += 1
        try:
            async with self._turn:
                if logins.accept(told):
                    self._known.add(guest)
                    return True
                await asyncio.sleep(WRONG_SECONDS)
                return False
        finally:
            self._waiting -= 1


def _one_of(told: str, right: tuple[str, ...]) -> bool:
    digest = hashlib.sha256(told.encode()).digest()
    same = [hmac.compare_digest(digest, hashlib.sha256(one.encode()).digest()) for one in right]
    return any(same)


def _decoded(told: str) -> str:
    try:
        return base64.b64decode(told, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


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


def _guarded(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return guarded
