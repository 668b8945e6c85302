"""The login page in front of a door that tells who came in."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from fluxui.gate import VISITOR_COOKIE, Gate
from fluxui.gate.cookies import Signer
from fluxui.gate.login import HINT, LOGIN_COOKIE, MAX_FORM, WRONG, LoginPage
from fluxui.gate.logins import Logins
from fluxui.visitor import SCOPE_KEY

KEY = b"k" * 32
LOGINS = Logins(users=("ann:a word", "bob:ünï"), keys=("a-key",), guests=("for-guests",))
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    visitor = scope[SCOPE_KEY]
    await PlainTextResponse("owner" if visitor.owner else visitor.id)(scope, receive, send)


def browser(logins: Logins = LOGINS, root_path: str = "", **headers: str) -> TestClient:
    page = LoginPage(logins, KEY, root_path)
    gate = Gate(inside, logins, None, root_path, Signer(KEY, VISITOR_COOKIE), page)
    return TestClient(
        gate,
        base_url="http://localhost:7860",
        headers={**BROWSER, **headers},
        follow_redirects=False,
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("fluxui.gate.WRONG_SECONDS", 0)
    yield


@pytest.mark.parametrize(
    ("password", "who"),
    [("a word", "owner"), ("ünï", "user:bob"), ("a-key", "key"), ("for-guests", "guest:")],
)
def test_the_right_password_opens(password: str, who: str) -> None:
    one = browser()
    asked = one.get("/docs?x=1&y=<2>")
    assert asked.status_code == 401 and "www-authenticate" not in asked.headers
    assert HINT in asked.text and 'value="/docs?x=1&amp;y=%3C2%3E"' in asked.text
    answer = one.post("/login", data={"password": password, "next": "/docs?x=1"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/docs?x=1")
    told = answer.headers["set-cookie"]
    assert "HttpOnly" in told and "SameSite=Lax" in told and password not in told
    assert one.get("/docs?x=1").text.startswith(who)
    assert one.get("/api/generate/", headers={"Accept": "*/*"}).text.startswith(who)


def test_guests_are_told_apart_and_come_back_as_themselves() -> None:
    ids = []
    for one in (browser(), browser()):
        one.post("/login", data={"password": "for-guests"})
        ids.append(one.get("/").text)
        assert one.get("/").text == ids[-1]
    assert ids[0] != ids[1]


@pytest.mark.parametrize(
    "data", [{}, {"password": ""}, {"password": "A word"}, {"password": "ann"}]
)
def test_a_wrong_password_is_said_and_opens_nothing(data: dict[str, str]) -> None:
    one = browser()
    answer = one.post("/login", data={**data, "next": "/docs"})
    assert answer.status_code == 401 and "set-cookie" not in answer.headers
    assert WRONG in answer.text and HINT in answer.text and 'value="/docs"' in answer.text
    assert one.get("/").status_code == 401


def test_wrong_passwords_are_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxui.gate.WRONG_SECONDS", 0.1)
    one, began = browser(), time.monotonic()
    for number in range(3):
        one.post("/login", data={"password": f"{number}"})
    assert time.monotonic() - began >= 0.3


def test_a_login_can_be_changed_for_another() -> None:
    one = browser()
    for password, who in (("ünï", "user:bob"), ("a word", "owner")):
        assert one.post("/login", data={"password": password}).status_code == 303
        assert one.get("/").text == who


@pytest.mark.parametrize(
    "cookie",
    [
        "in",
        "in.",
        Signer(KEY, LOGIN_COOKIE).sign("in"),
        Signer(KEY, LOGIN_COOKIE, "ann:another word").sign("in"),
        Signer(b"x" * 32, LOGIN_COOKIE, "ann:a word").sign("in"),
        Signer(KEY, VISITOR_COOKIE, "ann:a word").sign("in"),
    ],
)
def test_a_forged_cookie_opens_nothing(cookie: str) -> None:
    assert browser(Cookie=f"{LOGIN_COOKIE}={cookie}").get("/").status_code == 401


def test_a_changed_password_ends_the_logins_of_before() -> None:
    one = browser()
    one.post("/login", data={"password": "a word"})
    cookie = f"{LOGIN_COOKIE}={one.cookies[LOGIN_COOKIE]}"
    assert browser(Cookie=cookie).get("/").text == "owner"
    changed = Logins(users=("ann:another word",))
    assert browser(changed, Cookie=cookie).get("/").status_code == 401


@pytest.mark.parametrize(
    "elsewhere",
    [
        "//evil.test",
        "https://evil.test",
        "/\\evil.test",
        "\\evil",
        "",
        "x",
        "/a b",
        "/\r\nX: y",
        "/ü",
    ],
)
def test_a_login_leads_to_no_other_site(elsewhere: str) -> None:
    answer = browser().post("/login", data={"password": "a word", "next": elsewhere})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_the_address_of_the_form_leads_to_the_first_page() -> None:
    for root in ("", "/ui"):
        one = browser(root_path=root)
        assert f'value="{root}/"' in one.get("/login").text
        told = {"password": "a word", "next": f"{root}/login?x=1"}
        assert one.post("/login", data=told).headers["location"] == f"{root}/"


def test_another_site_cant_press_the_button() -> None:
    for headers in ({"Origin": "https://evil.test"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = browser().post("/login", data={"password": "a word"}, headers=headers)
        assert answer.status_code == 403 and "set-cookie" not in answer.headers


def test_a_form_that_is_too_large() -> None:
    answer = browser().post("/login", content=b"x" * (MAX_FORM + 1))
    assert answer.status_code == 413


def test_the_page_leaks_nothing_and_runs_nothing() -> None:
    answer = browser().get('/"><script>alert(1)</script>?q="><script>')
    assert "<script" not in answer.text and "tiny" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert answer.text.count("http") == 0
    said = browser().post("/login", data={"password": "x", "next": '/"><b>'}).text
    assert html.escape('/"><b>') in said and "<b>" not in said


@pytest.mark.parametrize("path", ["/", "/ui/"])
def test_behind_a_path_of_a_proxy(path: str) -> None:
    """One that takes its path away, and one that leaves it."""
    one = browser(root_path="https://flux.test/ui")
    asked = one.get(path)
    assert 'action="/ui/login"' in asked.text and 'value="/ui/"' in asked.text
    for address in ("/login", "/ui/login"):
        told: dict[str, Any] = {"password": "a word", "next": "/ui/"}
        assert one.post(address, data=told).headers["location"] == "/ui/"


def test_programs_are_asked_in_their_own_words() -> None:
    answer = browser().get("/api/health", headers={"Accept": "*/*"})
    assert answer.json()["code"] == "unauthorized"
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert browser().get("/", auth=("bob", "ünï")).text == "user:bob"
    assert browser().get("/", headers={"Authorization": "Bearer a-key"}).text == "key"
