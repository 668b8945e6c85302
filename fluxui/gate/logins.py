"""Who may come in by which words, and who that is. It knows no HTTP beyond one header's text."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from fluxui.errors import ConfigurationError
from fluxui.settings import Settings
from fluxui.visitor import OWNER, Visitor

# Came in by a word that many share: who it is, the cookie says.
GUEST = Visitor()
_T = TypeVar("_T")


@dataclass(frozen=True, repr=False)
class Login:
    """One of them. A cookie signed with `salt` ends when its password is changed."""

    password: str
    salt: str
    visitor: Visitor


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
            named = _match(pair, ((user, self._user(user).visitor) for user in self.users))
            return _match(pair.partition(":")[2], self._without_name()) or named
        return None

    def all(self) -> list[Login]:
        """Those of people first."""
        others = [Login(word, f"{word}\n", visitor) for word, visitor in self._without_name()]
        return [*map(self._user, self.users), *others]

    def find(self, password: str) -> Login | None:
        """Whose password this is; nobody has one twice."""
        return _match(password, ((login.password, login) for login in self.all()))

    def _user(self, user: str) -> Login:
        name, _, password = user.partition(":")
        owner = password == self.owners
        return Login(password, user, OWNER if owner else Visitor(f"user:{name}"))

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
    names, passwords = zip(*(user.split(":", 1) for user in users), strict=True)
    if len(set(names)) < len(users) or len(set(passwords)) < len(users):
        raise ConfigurationError(
            "Two users of FLUXUI_AUTH have one name or one password.",
            "The login page asks for the password alone: give each their own.",
        )
    return users


def _match(told: str, right: Iterable[tuple[str, _T]]) -> _T | None:
    digest = hashlib.sha256(told.encode()).digest()
    found = None
    for word, whose in right:
        if hmac.compare_digest(digest, hashlib.sha256(word.encode()).digest()):
            found = found or whose
    return found


def _decoded(told: str) -> str:
    try:
        return base64.b64decode(told, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
