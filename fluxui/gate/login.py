"""The login page for browsers, and the cookie that the right password gives.

A page of the server, without Gradio: it tells a stranger nothing but that there is a password.
Programs send theirs with every call, and never see it.
"""

from __future__ import annotations

import html
import re
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Receive, Scope

from fluxui.errors import TooLarge
from fluxui.gate.cookies import Signer
from fluxui.gate.logins import Logins
from fluxui.visitor import Visitor

LOGIN_COOKIE = "fluxui_login"
MAX_FORM = 8192
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'"
    ),
}
HINT = "The password is in the terminal that started fluxui."
WRONG = "That is not it."
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>fluxui</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<style>
:root {{ color-scheme: light dark; --ink: #18181b; --soft: #71717a; --line: #d4d4d8; --bad: #b91c1c;
  --panel: #fff; --ground: #fafafa; --accent: #13786f; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #f4f4f5; --soft: #a1a1aa; --line: #3f3f46;
  --bad: #f87171; --panel: #18181b; --ground: #09090b; }} }}
* {{ box-sizing: border-box; font: 15px/1.5 "IBM Plex Sans", system-ui, sans-serif; }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 24px;
  background: var(--ground); color: var(--ink); }}
form {{ width: 100%; max-width: 360px; padding: 24px; display: grid; gap: 12px;
  background: var(--panel); border: 1px solid var(--line); border-radius: 12px; }}
label, button {{ font-weight: 700; }}
input {{ width: 100%; padding: 10px 12px; color: inherit; background: transparent;
  border: 1px solid var(--line); border-radius: 8px; }}
button {{ padding: 12px 20px; color: #fff; background: var(--accent); border: 0;
  border-radius: 8px; cursor: pointer; }}
:focus-visible {{ outline: 2px solid var(--accent); outline-offset: 2px; }}
p {{ margin: 0; color: var(--soft); }} p[role=alert] {{ color: var(--bad); }}
</style></head>
<body><form method="post" action="{action}">
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required
 autofocus>
<input type="hidden" name="next" value="{next}">
{said}
<button>Open</button>
</form></body></html>
"""


class LoginPage:
    """`root` is the path before all addresses of ours, "" if there is none."""

    def __init__(
        self, logins: Logins, key: bytes, root_path: str = "", framed: bool = False
    ) -> None:
        self._logins = logins
        self._key = key
        self._root = urlsplit(root_path).path.rstrip("/")
        self._framed = framed

    def visitor(self, cookies: str) -> Visitor | None:
        """Who logged in here before with what still is a password."""
        for login in self._logins.all():
            if self._signer(login.salt).read(cookies):
                return login.visitor
        return None

    def is_form(self, scope: Scope) -> bool:
        """Whether somebody pressed the button."""
        path = scope["path"].removeprefix(self._root)
        return bool(scope["method"] == "POST" and path == "/login")

    def answer(self, told: dict[str, str], secure: bool) -> Response | None:
        """Let in, on to where they wanted to go; None for a wrong password."""
        login = self._logins.find(told.get("password", ""))
        if login is None:
            return None
        answer = RedirectResponse(
            self._local(told.get("next", "")), 303, {"Cache-Control": "no-store"}
        )
        cookie = self._signer(login.salt).header("in", secure, self._framed)
        answer.headers.append("Set-Cookie", cookie)
        return answer

    def ask(self, scope: Scope) -> Response:
        """The page, before the address that was asked for."""
        path = quote(scope["path"])
        path = path if path.startswith(self._root) else self._root + path
        query = scope["query_string"].decode("latin-1")
        return self._page(f"{path}?{query}" if query else path, f"<p>{HINT}</p>")

    def ask_again(self, told: dict[str, str]) -> Response:
        """The page after a wrong password."""
        return self._page(told.get("next", ""), f'<p role="alert">{WRONG}</p><p>{HINT}</p>')

    def _page(self, then: str, said: str) -> Response:
        action = html.escape(f"{self._root}/login")
        page = PAGE.format(action=action, next=html.escape(self._local(then)), said=said)
        return HTMLResponse(page, 401, HEADERS)

    def _local(self, address: str) -> str:
        """An address of ours, else the first page: no login leads to another site, or to itself."""
        ours = re.fullmatch(r"/(?!/)[!-\[\]-~]*", address)
        itself = urlsplit(address).path == f"{self._root}/login" if ours else False
        return address if ours and not itself else f"{self._root}/"

    def _signer(self, salt: str) -> Signer:
        return Signer(self._key, LOGIN_COOKIE, salt)


def wants_page(scope: Scope, headers: Headers) -> bool:
    """Whether a person looks at the answer."""
    return scope["method"] in ("GET", "HEAD") and "text/html" in headers.get("accept", "")


async def read_form(receive: Receive) -> dict[str, str]:
    """The fields of a small form. Raises TooLarge."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_FORM:
            raise TooLarge("This is no login.")
        if not message.get("more_body"):
            fields = parse_qs(body.decode("latin-1"), encoding="utf-8", errors="replace")
            return {name: values[0] for name, values in fields.items()}
