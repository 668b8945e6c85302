"""Debian's nginx in front, with TLS, under a path, by the very lines of docs/deployment.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, Request, build_opener

import pytest
from playwright.sync_api import Browser, expect
from pydantic import SecretStr

from fluxui.server import App
from fluxui.settings import Settings
from tests.e2e.conftest import pipeline_of
from tests.e2e.steps import ask, open_tab, picture_is_there
from tests.live import free_port, serving

DEPLOYMENT = Path(__file__).parent.parent.parent / "docs" / "deployment.md"
MAIN = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
  access_log off; types {{}} default_type application/octet-stream;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  {server}
}}
"""
KEY = {"Authorization": "Bearer key"}


class Proxied:
    """An app and the address where nginx serves it. `call` trusts the one CA that we made."""

    def __init__(self, app: App, ca: Path) -> None:
        self.app = app
        self.url = app.settings.root_path
        context = ssl.create_default_context(cafile=str(ca))
        self._opener = build_opener(HTTPSHandler(context=context))

    def call(self, path: str, body: Any = None, **headers: str) -> Any:
        """The open answer, refusals too."""
        url = path if path.startswith("https") else f"{self.url}{path}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body).encode()
        request = Request(url, data, {"Content-Type": "application/json", **named})
        try:
            return self._opener.open(request, timeout=30)
        except HTTPError as error:
            return error


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    if shutil.which("nginx") is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs nginx on the PATH.")
        pytest.skip("No nginx on the PATH: nothing is tested behind a proxy.")
    folder = tmp_path_factory.mktemp("nginx")
    port = free_port()
    settings = Settings(
        data_dir=folder / "fluxui",
        base_model="tiny",
        root_path=f"https://localhost:{port}/fluxui",
        auth=SecretStr("ann:word"),
        api_key=SecretStr("key"),
    )
    ca = certificates(folder)
    with serving(settings) as app, nginx(folder, port, app.settings.port):
        yield Proxied(app, ca)


def certificates(folder: Path) -> Path:
    """A CA, and what it signed for localhost: server.pem and server.key. The CA's file."""

    def openssl(told: str) -> None:
        subprocess.run(["openssl", *told.split()], cwd=folder, check=True, capture_output=True)

    ec = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    usage = "-addext keyUsage=critical,keyCertSign"
    openssl(f"req -x509 {ec} -keyout ca.key -out ca.pem -days 2 -subj /CN=ours {usage}")
    openssl(f"req {ec} -keyout server.key -out server.csr -subj /CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    signed = "-CA ca.pem -CAkey ca.key -CAcreateserial -extfile names"
    openssl(f"x509 -req -in server.csr {signed} -out server.pem -days 2")
    return folder / "ca.pem"


@contextmanager
def nginx(folder: Path, port: int, ours: int) -> Iterator[None]:
    """As the page says it, but for the names that people change."""
    blocks = re.findall(r"```nginx\n(.+?)```", DEPLOYMENT.read_text(encoding="utf-8"), re.DOTALL)
    server = blocks[0]
    for theirs, own in (
        ("443 ssl", f"127.0.0.1:{port} ssl"),
        ("example.com;", "localhost;"),
        ("/etc/ssl/example.com.pem", f"{folder}/server.pem"),
        ("/etc/ssl/example.com.key", f"{folder}/server.key"),
        ("127.0.0.1:7860", f"127.0.0.1:{ours}"),
    ):
        assert theirs in server
        server = server.replace(theirs, own)
    path = folder / "nginx.conf"
    path.write_text(MAIN.format(folder=folder, server=server))
    told = ["nginx", "-p", str(folder), "-e", f"{folder}/error.log", "-c", str(path)]
    process = subprocess.Popen(told)
    try:
        until = time.monotonic() + 10
        while not (folder / "nginx.pid").exists():
            assert process.poll() is None and time.monotonic() < until, "nginx did not start"
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.browser
def test_the_page_paints_a_picture(proxied: Proxied, browser: Browser) -> None:
    """Login, stream, picture, gallery, `/docs`; and nothing is asked for outside of the path."""
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{proxied.url}?tab=generate")
    page.get_by_label("Password", exact=True).fill("word")
    page.get_by_role("button", name="Open", exact=True).click()
    page.wait_for_url(f"{proxied.url}/*")
    ask(page, "a boat behind a proxy")
    expect(page.locator("#status [data-status=completed]")).to_be_visible(timeout=60_000)
    picture_is_there(page, "#stage .fx-frame img")
    open_tab(page, "Gallery")
    picture_is_there(page, "#g-grid img")
    page.goto(f"{proxied.url}/docs")
    expect(page.get_by_text("/api/generate/image").first).to_be_visible()
    cookies = {cookie["name"]: cookie for cookie in context.cookies()}
    assert cookies["fluxui_login"]["secure"]
    assert cookies["fluxui_login"]["httpOnly"]
    assert complaints == []
    assert {url for url in asked if not url.startswith((proxied.url, "data:", "blob:"))} == set()
    context.close()


def test_events_arrive_as_they_happen(proxied: Proxied) -> None:
    """The second step waits for us to have read of the first, so no buffer may hold it back."""
    pipeline = pipeline_of(proxied.app)
    pipeline.gate.clear()
    try:
        body = {"prompt": "a slow boat", "num_inference_steps": 2}
        job = json.load(proxied.call("/api/generate/image", body, **KEY))["id"]
        stream = proxied.call(f"/api/generate/{job}/events", **KEY)
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        began = time.monotonic()
        first = stream.readline()
        assert first
        assert time.monotonic() - began < 5
        assert not proxied.app.studio.get(job).status.ended
    finally:
        pipeline.gate.set()
    assert b"completed" in stream.read()


def test_the_address_of_a_picture_leads_back_through_the_proxy(proxied: Proxied) -> None:
    body = {"prompt": "a boat", "num_inference_steps": 1}
    job = json.load(proxied.call("/api/generate/image", body, **KEY))["id"]
    proxied.call(f"/api/generate/{job}/events", **KEY).read()
    told = json.load(proxied.call(f"/api/generate/{job}", **KEY))
    assert told["output_paths"] == [f"{proxied.url}/api/images/{job}/1"]
    assert proxied.call(told["output_paths"][0], **KEY).read().startswith(b"\x89PNG")


def test_without_a_login_there_is_nothing(proxied: Proxied) -> None:
    for path in ("/", "/docs", "/config", "/api/generate/", "/gradio_api/info"):
        assert proxied.call(path).status == 401


def test_only_our_own_pages_may_write(proxied: Proxied) -> None:
    ours = proxied.url.removesuffix("/fluxui")
    body = {"prompt": "a boat", "num_inference_steps": 1}
    assert proxied.call("/api/generate/image", body, **KEY, Origin=ours).status == 202
    for other in ("https://evil.test", "https://localhost", "null"):
        assert proxied.call("/api/generate/image", body, **KEY, Origin=other).status == 403


def test_a_visitor_can_not_make_up_who_asks(proxied: Proxied) -> None:
    """nginx adds the true address, and overwrites the rest."""
    lies = {"X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "http", "X-Forwarded-For": "::1"}
    page = proxied.call("/", **KEY, **lies).read().decode()
    assert "evil.test" not in page
    assert "http://localhost" not in page
