"""The page behind the gate's login, as a share link has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from pydantic import SecretStr

from fluxui.settings import Settings
from tests.e2e.steps import ask, picture_is_there
from tests.live import serving

pytestmark = pytest.mark.browser


def test_the_page_works_behind_a_login(browser: Browser, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "fluxui", base_model="tiny", auth=SecretStr("ann:x"))
    with serving(settings, host="0.0.0.0") as app:
        url = f"http://127.0.0.1:{app.settings.port}"
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{url}/?tab=generate")
        expect(page.get_by_text("The password is in the terminal")).to_be_visible()
        page.get_by_label("Password", exact=True).fill("y")
        page.get_by_role("button", name="Open", exact=True).click()
        expect(page.get_by_role("alert")).to_have_text("That is not it.")
        page.get_by_label("Password", exact=True).fill("x")
        page.get_by_role("button", name="Open", exact=True).click()
        page.wait_for_url(f"{url}/?tab=generate")
        ask(page, "a red boat", steps=2)
        expect(page.locator("#status [data-status=completed]")).to_be_visible(timeout=20_000)
        picture_is_there(page, "#stage .fx-frame img")
        context.close()


def test_another_site_can_neither_read_nor_write(browser: Browser, tmp_path: Path) -> None:
    """Not even in the browser of the owner, who is logged in."""
    settings = Settings(data_dir=tmp_path / "fluxui", base_model="tiny", auth=SecretStr("ann:x"))
    with serving(settings, host="0.0.0.0") as app:
        context = browser.new_context(http_credentials={"username": "ann", "password": "x"})
        page = context.new_page()
        page.route("http://evil.test/", lambda route: route.fulfill(body="<p>evil</p>"))
        page.goto("http://evil.test/")
        url = f"http://127.0.0.1:{app.settings.port}/api/generate/"
        read = "url => fetch(url, {credentials: 'include'}).then(a => a.text(), e => `${e}`)"
        assert "generations" not in page.evaluate(read, url)
        write = """url => fetch(url, {method: 'POST', mode: 'no-cors', credentials: 'include',
            body: '{"prompt": "evil"}'}).then(a => a.type, e => `${e}`)"""
        page.evaluate(write, f"{url}image")
        assert app.studio.page().total == 0
        context.close()
