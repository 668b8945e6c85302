"""Who may come in by which words, and who that is. It knows no HTTP beyond one header's text."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from fluxui.errors import ConfigurationError
from fluxui.settings import Settings
from fluxui.visitor import OWNER, Visitor

# Came in by a word that many share: who it is, the cookie says.
GUEST = Visitor()


@dataclass(frozen=True, repr=False)
class Logins:
    """Who may come in: `user:password` pairs, keys for programs, and a word for guests. The
    first of all is the owner's. Shows in no repr."""

    users: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    guests: tuple[str, ...] = ()

    @property
    def owners(self) -> str:
        """The word of the owner."""
        return self.users[0].partition(":")[2] if self.users else self.keys[0]

    def admit(self, authorization: str) -> Visitor | None:
        """Who sends this header; None if nobody. As slow for a near miss as for nonsense."""
        scheme, _, told = authorization.partition(" ")
        if scheme.lower() == "bearer":
            return _match(told.strip(), self._without_name())
        if scheme.lower() == "basic":
            pair = _decoded(told)
            named = _match(pair, ((user, self._user(user)) for user in self.users))
            return _match(pair.partition(":")[2], self._without_name()) or named
        return None

    def _user(self, user: str) -> Visitor:
        name, _, password = user.partition(":")
        return OWNER if password == self.owners else Visitor(f"user:{name}")

    def _without_name(self) -> list[tuple[str, Visitor]]:
        keys = [(key, OWNER if key == self.owners else Visitor("key")) for key in self.keys]
        return [*keys, *((word, GUEST) for word in self.guests)]


def choose_logins(settings: Settings) -> Logins | None:
    """The logins of the settings; else, where strangers can come, passwords made now.

    None means that there is no login: on this machine alone, with `--insecure`, and on a Space,
    whose own visibility rules. Raises ConfigurationError.
    """
    users = _users(settings.auth.get_secret_value()) if settings.auth else ()
    keys = (settings.api_key.get_secret_value(),) if settings.api_key else ()
    if users or keys:
        return Logins(users, keys)
    if settings.public and not settings.insecure and not settings.in_space:
        owners, guests = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        return Logins((f"fluxui:{owners}",), (owners,), (guests,))
    return None


def _users(auth: str) -> tuple[str, ...]:
    users = tuple(pair.strip() for pair in auth.split(","))
    if not all(user.partition(":")[0] and user.partition(":")[2] for user in users):
        raise ConfigurationError(
            "FLUXUI_AUTH is not user:password.", "Several are divided by commas."
        )
    return users


def _match(told: str, right: Iterable[tuple[str, Visitor]]) -> Visitor | None:
    digest = hashlib.sha256(told.encode()).digest()
    found = None
    for word, visitor in right:
        if hmac.compare_digest(digest, hashlib.sha256(word.encode()).digest()):
            found = visitor
    return found


def _decoded(told: str) -> str:
    try:
        return base64.b64decode(told, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
