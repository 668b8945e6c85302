"""A Space with `hf_oauth`, through real HTTP, and a stand-in for Hugging Face's side of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr

from fluxui.gate.cookies import Signer, read_key
from fluxui.gate.oauth import ACCOUNT_COOKIE, ASKED_COOKIE
from fluxui.server import App
from fluxui.settings import Settings
from tests.conftest import wait
from tests.live import serving
from tests.security.provider import CLIENT, SECRET, Provider, provider
from tests.security.test_gate_matrix import filled, routes

ROUTES = {"GET /login/huggingface", "GET /login/callback", "POST /logout"}


@pytest.fixture(scope="module")
def hub() -> Iterator[Provider]:
    with provider() as server:
        yield server


def space_settings(folder: Path, hub: Provider, **more: Any) -> Settings:
    told = {
        "system": "spaces",
        "space_author_name": "ann",
        "oauth_client_id": CLIENT,
        "oauth_client_secret": SecretStr(SECRET),
        "openid_provider_url": hub.url,
    }
    return Settings(_env_file=None, data_dir=folder, base_model="tiny", **(told | more))


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory, hub: Provider) -> Iterator[App]:
    settings = space_settings(tmp_path_factory.mktemp("space"), hub, owners="dora, eve")
    with serving(settings) as app:
        yield app


class Visit:
    """A browser's cookies by hand: on a Space all of them are Secure, and this is plain http."""

    def __init__(self, app: App) -> None:
        self.url = f"http://127.0.0.1:{app.settings.port}"
        self.cookies: dict[str, str] = {}

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        url = path if path.startswith("http") else f"{self.url}{path}"
        told = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = httpx.request(method, url, headers={"Cookie": told}, timeout=30, **more)
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
            if "Max-Age=0" in line:
                del self.cookies[name]
        return answer

    def sign_in(self) -> httpx.Response:
        asked = self.ask("GET", "/login/huggingface")
        agreed = httpx.get(asked.headers["location"])
        return self.ask("GET", agreed.headers["location"])

    def paint(self, app: App, prompt: str = "a secret plan") -> str:
        asked = {"prompt": prompt, "num_inference_steps": 1}
        job_id: str = self.ask("POST", "/api/generate/image", json=asked).json()["id"]
        wait(app.studio, job_id)
        return job_id


@pytest.fixture
def visit(space: App, hub: Provider) -> Visit:
    hub.name, hub.down = "bob", False
    return Visit(space)


def signed_in(space: App, hub: Provider, name: str) -> Visit:
    hub.name = name
    one = Visit(space)
    answer = one.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return one


def test_a_visitor_is_their_hugging_face_name_on_every_device(
    visit: Visit, space: App, hub: Provider
) -> None:
    bob, again = signed_in(space, hub, "bob"), signed_in(space, hub, "bob")
    carl = signed_in(space, hub, "carl")
    job_id = bob.paint(space)
    assert space.studio.get(job_id).visitor == "hf:bob"
    assert again.ask("GET", f"/api/generate/{job_id}").status_code == 200
    for stranger in (carl, visit):
        for method, path in (
            ("GET", f"/api/generate/{job_id}"),
            ("GET", f"/api/images/{job_id}/1"),
            ("POST", f"/api/generate/{job_id}/move_up"),
            ("DELETE", f"/api/generate/{job_id}"),
        ):
            assert stranger.ask(method, path).status_code == 404, (method, path)
        assert stranger.ask("GET", "/api/generate/").json()["total"] == 0
    assert carl.ask("DELETE", "/api/models/pixel-art").status_code == 403


@pytest.mark.parametrize("name", ["ann", "dora", "eve"])
def test_the_author_of_the_space_and_who_is_named_own_it(
    space: App, hub: Provider, name: str
) -> None:
    job_id = signed_in(space, hub, "bob").paint(space)
    owner = signed_in(space, hub, name)
    assert owner.ask("GET", f"/api/generate/{job_id}").status_code == 200
    assert owner.ask("PATCH", "/api/models/pixel-art", json={"notes": "x"}).status_code == 200


@pytest.mark.parametrize("name", ["Ann", "ann ", "", None, 7, "an\nn", "../ann", "a" * 200])
def test_nobody_else_does(visit: Visit, hub: Provider, space: App, name: Any) -> None:
    job_id = signed_in(space, hub, "bob").paint(space)
    hub.name = name
    answer = visit.sign_in()
    assert answer.status_code in (303, 502)
    assert visit.ask("GET", f"/api/generate/{job_id}").status_code == 404


def test_a_name_is_believed_from_the_signed_cookie_alone(visit: Visit, space: App) -> None:
    job_id = visit.paint(space)
    key = read_key(space.settings.data_dir)
    until = f"{int(time.time()) + 999:x}"
    right = Signer(key, ACCOUNT_COOKIE, CLIENT)
    forged = [
        {ACCOUNT_COOKIE: f"{until}-{b'ann'.hex()}"},
        {ACCOUNT_COOKIE: f"{until}-{b'ann'.hex()}.{'0' * 64}"},
        {ACCOUNT_COOKIE: Signer(bytes(32), ACCOUNT_COOKIE, CLIENT).sign(f"{until}-616e6e")},
        {ACCOUNT_COOKIE: Signer(key, ACCOUNT_COOKIE).sign(f"{until}-616e6e")},
        {ACCOUNT_COOKIE: Signer(key, "fluxui_visitor").sign(f"{until}-616e6e")},
        {ACCOUNT_COOKIE: right.sign(f"{int(time.time()) - 1:x}-616e6e")},  # over
        {ACCOUNT_COOKIE: right.sign("")},
        {"session": "e30="},
    ]
    for cookies in forged:
        stranger = Visit(space)
        stranger.cookies = cookies
        assert stranger.ask("GET", f"/api/generate/{job_id}").status_code == 404, cookies
    for header in (
        "X-Forwarded-User",
        "X-Gradio-User",
        "X-Hf-User",
        "Authorization",
        "Remote-User",
    ):
        answer = httpx.get(f"{visit.url}/api/generate/{job_id}", headers={header: "ann"})
        assert answer.status_code == 404, header
    owner = Visit(space)
    owner.cookies = {ACCOUNT_COOKIE: right.sign(f"{until}-616e6e")}
    assert owner.ask("GET", f"/api/generate/{job_id}").status_code == 200


def test_nobody_is_signed_in_by_a_foreign_link(visit: Visit, space: App, hub: Provider) -> None:
    """A link with another's code must not make this browser that other."""
    asked = Visit(space).ask("GET", "/login/huggingface")
    foreign = httpx.get(asked.headers["location"]).headers["location"]
    for begun in (False, True):
        if begun:
            visit.ask("GET", "/login/huggingface")
        answer = visit.ask("GET", foreign)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert ACCOUNT_COOKIE not in visit.cookies
    visit.cookies[ASKED_COOKIE] = Signer(
        read_key(space.settings.data_dir), ASKED_COOKIE, CLIENT
    ).sign("s-0")
    assert visit.ask("GET", "/login/callback?state=s&code=x").status_code == 403, "too late"


def test_what_hugging_face_refuses_makes_nobody(visit: Visit, hub: Provider) -> None:
    asked = visit.ask("GET", "/login/huggingface")
    state = parse_qs(urlsplit(asked.headers["location"]).query)["state"][0]
    answer = visit.ask("GET", f"/login/callback?state={state}&code=wrong")
    assert (answer.status_code, answer.json()["code"]) == (502, "login_failed")
    visit.ask("GET", "/login/huggingface")
    hub.down = True
    assert visit.ask("GET", "/login/huggingface").status_code == 502
    hub.down = False
    asked = visit.ask("GET", "/login/huggingface")
    state = parse_qs(urlsplit(asked.headers["location"]).query)["state"][0]
    said_no = visit.ask("GET", f"/login/callback?state={state}&error=access_denied")
    assert said_no.status_code == 303 and ACCOUNT_COOKIE not in visit.cookies


def test_signing_out(space: App, hub: Provider) -> None:
    bob = signed_in(space, hub, "bob")
    job_id = bob.paint(space)
    foreign = httpx.post(f"{bob.url}/logout", headers={"Origin": "https://evil.test"})
    assert foreign.status_code == 403
    assert bob.ask("POST", "/logout").headers["location"] == "/"
    assert ACCOUNT_COOKIE not in bob.cookies
    assert bob.ask("GET", f"/api/generate/{job_id}").status_code == 404


def test_no_token_reaches_the_browser(space: App, hub: Provider) -> None:
    bob = signed_in(space, hub, "bob")
    told = " ".join(bob.cookies.values())
    assert hub.tokens and not any(token in told for token in hub.tokens)
    assert SECRET not in told


def test_the_routes_are_known_and_refuse_another_site(space: App) -> None:
    table = {f"{method} {path}" for method, path in routes(space)}
    assert table >= ROUTES
    known = (Path(__file__).parent.parent / "golden" / "routes.txt").read_text().splitlines()
    assert table == ROUTES | {"HEAD /login/huggingface", "HEAD /login/callback"} | set(known)
    for method, path in routes(space):
        if path != "/gradio_api/startup-events":
            answer = httpx.request(
                method,
                f"http://127.0.0.1:{space.settings.port}{filled(path)}",
                headers={"Origin": "https://evil.test"},
            )
            assert answer.status_code == 403, (method, path)


def test_a_space_sends_them_back_to_its_own_name(tmp_path: Path, hub: Provider) -> None:
    hub.down = False
    settings = space_settings(tmp_path / "x", hub, space_host="ann-fluxui.hf.space,my.test")
    with serving(settings) as app:
        url = f"http://127.0.0.1:{app.settings.port}/login/huggingface"
        elsewhere = httpx.get(url, headers={"Host": "my.test"})
        assert elsewhere.headers["location"] == "https://ann-fluxui.hf.space/login/huggingface?here"
        there = httpx.get(url, headers={"Host": "ann-fluxui.hf.space"})
        asked = parse_qs(urlsplit(there.headers["location"]).query)
        assert asked["redirect_uri"] == ["https://ann-fluxui.hf.space/login/callback"]
        assert httpx.get(f"{url}?here").headers["location"].startswith(hub.url)


@pytest.mark.parametrize(
    "changes",
    [
        {"system": ""},
        {"auth": SecretStr("ann:x")},
        {"api_key": SecretStr("x")},
        {"oauth_client_id": ""},
        {"oauth_client_secret": None},
    ],
)
def test_it_is_offered_only_on_a_space_without_a_password(
    tmp_path: Path, hub: Provider, changes: dict[str, Any]
) -> None:
    assert space_settings(tmp_path, hub).asks_hub
    assert not space_settings(tmp_path, hub, **changes).asks_hub
