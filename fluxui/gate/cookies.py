"""Signed cookies: what this server wrote, and nobody else.

It knows no visitor and no login. The key is made once and lies in the data folder, so that a
restart forgets nobody; whoever can read that folder can read the pictures too.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

KEY_FILE = "cookies.key"
KEY_BYTES = 32
YEAR_SECONDS = 365 * 24 * 3600


def read_key(data_dir: Path) -> bytes:
    """The key of this data folder, made if there is none."""
    path = data_dir / KEY_FILE
    if not path.exists():
        draft = path.with_name(f"{KEY_FILE}.new")
        draft.unlink(missing_ok=True)
        fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        draft.replace(path)
    return path.read_bytes()


class Signer:
    """Signs the values of one cookie. `name` and `salt` are signed with them, so that one cookie
    never passes for another, and a new salt ends all that were given before."""

    def __init__(self, key: bytes, name: str, salt: str = "") -> None:
        self.name = name
        self._key = hmac.digest(key, f"{name}\n{salt}".encode(), "sha256")

    def sign(self, value: str) -> str:
        """`value` has no dot and nothing that a cookie can't hold."""
        return f"{value}.{self._signature(value)}"

    def read(self, header: str) -> str | None:
        """The value in a Cookie header, if we signed it."""
        try:
            morsel = SimpleCookie(header).get(self.name)
        except CookieError:
            return None
        value, _, signature = morsel.value.partition(".") if morsel else ("", "", "")
        right = hmac.compare_digest(signature.encode(), self._signature(value).encode())
        return value if right else None

    def _signature(self, value: str) -> str:
        return hmac.new(self._key, value.encode(), hashlib.sha256).hexdigest()

    def header(
        self, value: str, secure: bool, framed: bool = False, seconds: int = YEAR_SECONDS
    ) -> str:
        """A Set-Cookie header; 0 `seconds` take it away. `framed` is for a page that lives inside
        another site's frame, to which browsers send nothing less."""
        parts = [f"{self.name}={self.sign(value)}", "Path=/", f"Max-Age={seconds}", "HttpOnly"]
        if framed:
            parts += ["SameSite=None", "Secure", "Partitioned"]
        else:
            parts += ["SameSite=Lax", *(["Secure"] if secure else [])]
        return "; ".join(parts)
