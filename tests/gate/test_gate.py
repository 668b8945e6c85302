from __future__ import annotations

import base64
import sys
import time
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from fluxui.gate import Gate, choose_hosts
from fluxui.gate.logins import Logins
from fluxui.settings import LOOPBACK, Settings

LOGINS = Logins(users=("ann:s3cret:with-colon", "bob:ünï"), keys=("a-key",))


async def inside(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("inside")(scope, receive, send)


def client(
    logins: Logins | None = None, hosts: frozenset[str] | None = None, root_path: str = ""
) -> TestClient:
    return TestClient(Gate(inside, logins, hosts, root_path), base_url="http://localhost:7860")


def basic(pair: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxui.gate.WRONG_SECONDS", 0)


@pytest.mark.parametrize(
    "headers",
    [
        basic("ann:s3cret:with-colon"),
        basic("bob:ünï"),
        basic("anybody:a-key"),
        {"Authorization": "Bearer a-key"},
        {"Authorization": "bearer  a-key"},
    ],
)
def test_right_logins(headers: dict[str, str]) -> None:
    one = client(LOGINS)
    assert [one.get("/", headers=headers).text for _ in range(2)] == ["inside"] * 2


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("ann:wrong"),
        basic("ann:"),
        basic("bob:s3cret:with-colon"),
        basic("ann"),
        {"Authorization": "Basic not base64!"},
        {"Authorization": "Basic /////w=="},
        {"Authorization": "Bearer s3cret:with-colon"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer"},
        {"Authorization": "Digest a-key"},
        {"Authorization": "a-key"},
    ],
)
def test_wrong_logins(headers: dict[str, str]) -> None:
    answer = client(LOGINS).get("/anything", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert answer.json()["code"] == "unauthorized"


def test_an_empty_key_lets_nobody_in() -> None:
    assert client(Logins(users=("ann:x",))).get("/", headers=basic("ann:")).status_code == 401


def test_wrong_tries_are_slow_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxui.gate.WRONG_SECONDS", 0.1)
    one = client(LOGINS)
    began = time.monotonic()
    for number in range(3):
        one.get("/", headers=basic(f"ann:{number}"))
    assert time.monotonic() - began >= 0.3
    monkeypatch.setattr("fluxui.gate.WRONG_SECONDS", 30)
    began = time.monotonic()
    assert one.get("/", headers=basic("ann:s3cret:with-colon")).status_code == 200
    assert one.get("/").status_code == 401  # asks for the login, no guess
    assert time.monotonic() - began < 30


def test_what_the_launch_calls_is_open() -> None:
    assert client(LOGINS).get("/gradio_api/startup-events").status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # a program
        ({"Origin": "http://localhost:7860"}, 200),
        ({"Origin": "http://evil.test"}, 403),
        ({"Origin": "http://localhost:9999"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://a-proxy.test"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:7860"}, 403),
    ],
)
def test_only_our_own_page_changes_anything(
    method: str, headers: dict[str, str], status: int
) -> None:
    assert client().request(method, "/api/x", headers=headers).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 200),  # a link from elsewhere
        ({"Origin": "http://evil.test"}, 403),  # a script that could read the answer
        ({"Origin": "http://evil.test", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://localhost:7860"}, 200),
    ],
)
def test_reading(headers: dict[str, str], status: int) -> None:
    assert client().get("/", headers=headers).status_code == status


def test_the_root_path_is_our_own_origin() -> None:
    one = client(root_path="https://flux.test/ui")
    assert one.post("/", headers={"Origin": "https://flux.test"}).status_code == 200
    assert one.post("/", headers={"Origin": "https://evil.test"}).status_code == 403


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:7860", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:7860", 200),
        ("[::1]:7860", 200),
        ("evil.test", 403),
        ("127.0.0.1.evil.test", 403),
        ("localhost@evil.test", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
def test_on_loopback_only_our_names(host: str, status: int) -> None:
    answer = client(hosts=LOOPBACK).get("/", headers={"Host": host})
    assert answer.status_code == status


def test_security_headers_are_on_every_answer() -> None:
    for answer in (client().get("/"), client(LOGINS).get("/")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"


# Which gate the settings ask for


def changed(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update=changes)


def test_hosts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_hosts(settings) == LOOPBACK
    proxied = changed(settings, root_path="https://flux.test:8443/ui")
    assert choose_hosts(proxied) == LOOPBACK | {"flux.test"}
    assert choose_hosts(changed(settings, root_path="/ui")) == LOOPBACK
    assert choose_hosts(changed(settings, share=True)) is None
    monkeypatch.setitem(sys.modules, "google.colab", None)
    assert choose_hosts(settings) is None
