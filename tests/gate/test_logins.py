from __future__ import annotations

import base64
from typing import Any

import pytest
from pydantic import SecretStr

from fluxui.errors import ConfigurationError
from fluxui.gate.logins import GUEST, Logins, choose_logins
from fluxui.settings import Settings
from fluxui.visitor import OWNER, Visitor


def basic(pair: str) -> str:
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


@pytest.mark.parametrize(
    ("header", "visitor"),
    [
        (basic("ann:x"), OWNER),
        (basic("bob:y"), Visitor("user:bob")),
        (basic("bob:x"), None),
        ("Bearer key", Visitor("key")),
        (basic("anybody:key"), Visitor("key")),
        ("Bearer x", None),
        ("Bearer guests", GUEST),
        (basic("bob:guests"), GUEST),
    ],
)
def test_who_comes_in_by_which_words(header: str, visitor: Visitor | None) -> None:
    logins = Logins(users=("ann:x", "bob:y"), keys=("key",), guests=("guests",))
    assert logins.admit(header) == visitor


def test_a_key_alone_is_the_owners() -> None:
    assert Logins(keys=("key",)).admit("Bearer key") == OWNER


def changed(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update=changes)


def test_no_login_on_this_machine(settings: Settings) -> None:
    assert choose_logins(settings) is None


@pytest.mark.parametrize("public", [{"share": True}, {"host": "0.0.0.0"}, {"host": "192.168.1.2"}])
def test_strangers_need_a_password_that_is_made(settings: Settings, public: dict[str, Any]) -> None:
    made = [choose_logins(changed(settings, **public)) for _ in range(2)]
    assert made[0] and made[1] and made[0] != made[1]
    password = made[0].keys[0]
    assert len(password) >= 20
    assert made[0].admit(f"Bearer {password}")
    assert made[0].admit(basic(f"fluxui:{password}")) == OWNER
    assert made[0].admit(f"Bearer {made[0].guests[0]}") == GUEST
    assert password not in repr(made[0]) and made[0].guests[0] not in repr(made[0])
    assert choose_logins(changed(settings, insecure=True, **public)) is None


def test_a_space_has_its_own_rules(settings: Settings) -> None:
    space = changed(settings, host="0.0.0.0", system="spaces")
    assert choose_logins(space) is None
    assert choose_logins(changed(space, auth=SecretStr("ann:x")))


@pytest.mark.parametrize("public", [{}, {"share": True}, {"insecure": True, "share": True}])
def test_a_login_that_was_set_always_holds(settings: Settings, public: dict[str, Any]) -> None:
    users = choose_logins(changed(settings, auth=SecretStr("ann:x, bob:y"), **public))
    assert users == Logins(users=("ann:x", "bob:y"))
    keys = choose_logins(changed(settings, api_key=SecretStr("k"), **public))
    assert keys == Logins(keys=("k",))


@pytest.mark.parametrize("auth", ["ann", ":x", "ann:", "ann:x,", " ", "ann:x,bob:x", "ann:x,ann:y"])
def test_a_login_that_is_none(settings: Settings, auth: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        choose_logins(changed(settings, auth=SecretStr(auth)))
    assert "FLUXUI_AUTH" in caught.value.message
