"""Signing in with a Hugging Face account, on a Space whose front matter says `hf_oauth: true`.

Hugging Face tells this server who somebody is; a cookie that the server signs then keeps the name,
and nothing else: no token of theirs stays here or there. It knows no Gradio, whose own button
would put that token into a cookie.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

from httpx2 import AsyncClient, HTTPError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from fluxui.errors import Forbidden, LoginFailed
from fluxui.gate.cookies import Signer
from fluxui.settings import Settings
from fluxui.visitor import OWNER, Visitor

ACCOUNT_COOKIE = "fluxui_account"
ACCOUNT_SECONDS = 7 * 24 * 3600
ASKED_COOKIE = "fluxui_asked"
ASKED_SECONDS = 600
TIMEOUT = 10.0
NAME = re.compile(r"[\w.-]{1,100}", re.ASCII)


def choose_accounts(settings: Settings, key: bytes) -> Accounts | None:
    """None where Hugging Face is not asked: off a Space, and behind a password of its own."""
    return Accounts(settings, key) if settings.asks_hub else None


class Accounts:
    """Who somebody is by their cookie, and the three routes by which they get and lose it."""

    def __init__(self, settings: Settings, key: bytes) -> None:
        self._settings = settings
        self._signer = Signer(key, ACCOUNT_COOKIE, settings.oauth_client_id)
        self._asked = Signer(key, ASKED_COOKIE, settings.oauth_client_id)
        self._root = urlsplit(settings.root_path).path.rstrip("/")
        # With a domain of its own a Space has several names; Hugging Face knows the first.
        self._host = settings.space_host.partition(",")[0].strip()
        names = [settings.space_author_name, *settings.owners.split(",")]
        self._owners = {name.strip() for name in names if name.strip()}

    def visitor(self, cookies: str) -> Visitor | None:
        """Whom this Cookie header names, if we signed that and it still holds."""
        until, _, name = (self._signer.read(cookies) or "0-").partition("-")
        if int(until, 16) < time.time():
            return None
        name = bytes.fromhex(name).decode()
        return OWNER if name in self._owners else Visitor(f"hf:{name}")

    def routes(self) -> list[Route]:
        return [
            Route("/login/huggingface", self.begin, methods=["GET"]),
            Route("/login/callback", self.finish, methods=["GET"]),
            Route("/logout", self.leave, methods=["POST"]),
        ]

    async def begin(self, request: Request) -> Response:
        """On to Hugging Face, with a word by which we know them when they come back."""
        here = request.headers.get("host", "") == self._host or "here" in request.query_params
        if self._host and not here:
            return RedirectResponse(f"https://{self._host}/login/huggingface?here", 303)
        state = secrets.token_hex(16)
        asked = {
            "client_id": self._settings.oauth_client_id,
            "redirect_uri": self._back(request),
            "response_type": "code",
            "scope": self._settings.oauth_scopes,
            "state": state,
        }
        async with AsyncClient(timeout=TIMEOUT) as client:
            provider = await self._provider(client)
        answer = RedirectResponse(f"{provider['authorization_endpoint']}?{urlencode(asked)}", 303)
        value = f"{state}-{int(time.time()) + ASKED_SECONDS:x}"
        cookie = self._asked.header(value, _is_https(request), seconds=ASKED_SECONDS)
        answer.headers.append("Set-Cookie", cookie)
        return answer

    async def finish(self, request: Request) -> Response:
        """Back from there: who it is, and on to the page. Raises Forbidden, LoginFailed."""
        self._check_state(request)
        answer = RedirectResponse(f"{self._root}/", 303)
        answer.headers.append("Set-Cookie", self._asked.header("", False, seconds=0))
        if "code" not in request.query_params:  # they said no
            return answer
        name = await self._name(request.query_params["code"], self._back(request))
        value = f"{int(time.time()) + ACCOUNT_SECONDS:x}-{name.encode().hex()}"
        cookie = self._signer.header(value, True, framed=True, seconds=ACCOUNT_SECONDS)
        answer.headers.append("Set-Cookie", cookie)
        return answer

    async def leave(self, request: Request) -> Response:
        answer = RedirectResponse(f"{self._root}/", 303)
        cookie = self._signer.header("", True, framed=True, seconds=0)
        answer.headers.append("Set-Cookie", cookie)
        return answer

    def _check_state(self, request: Request) -> None:
        """That this browser began it, and not long ago: nobody is signed in by a foreign link."""
        value = self._asked.read(request.headers.get("cookie", "")) or "-0"
        state, _, until = value.partition("-")
        told = request.query_params.get("state", "")
        known = state != "" and hmac.compare_digest(state.encode(), told.encode())
        if not known or int(until, 16) < time.time():
            raise Forbidden("This was not begun here, or took too long.", "Sign in once more.")

    def _back(self, request: Request) -> str:
        """Where Hugging Face sends them: an address that it knows."""
        if self._host:
            return f"https://{self._host}/login/callback"
        return f"{request.url.scheme}://{request.url.netloc}{self._root}/login/callback"

    async def _provider(self, client: AsyncClient) -> dict[str, Any]:
        url = self._settings.openid_provider_url.rstrip("/")
        return await _asked(client, "GET", f"{url}/.well-known/openid-configuration")

    async def _name(self, code: str, back: str) -> str:
        """Of whom this code speaks. Raises LoginFailed."""
        settings = self._settings
        secret = settings.oauth_client_secret
        login = (settings.oauth_client_id, secret.get_secret_value() if secret else "")
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
        form["client_id"] = settings.oauth_client_id
        async with AsyncClient(timeout=TIMEOUT) as client:
            provider = await self._provider(client)
            got = await _asked(client, "POST", provider["token_endpoint"], auth=login, data=form)
            bearer = {"Authorization": f"Bearer {got.get('access_token')}"}
            told = await _asked(client, "GET", provider["userinfo_endpoint"], headers=bearer)
        name = told.get("preferred_username")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise LoginFailed("Hugging Face did not say who you are.")
        return name


async def _asked(client: AsyncClient, method: str, url: str, **more: Any) -> dict[str, Any]:
    """An answer of the provider. Raises LoginFailed."""
    try:
        answer = await client.request(method, url, **more)
        answer.raise_for_status()
        told = answer.json()
    except (HTTPError, ValueError):
        raise LoginFailed("Hugging Face did not answer as it should.") from None
    if not isinstance(told, dict):
        raise LoginFailed("Hugging Face did not answer as it should.")
    return told


def _is_https(request: Request) -> bool:
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
