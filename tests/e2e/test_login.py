"""The page behind the gate's login, as a share link has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from pydantic import SecretStr

from fluxui.settings import Settings
from tests.e2e.steps import ask, open_tab, paint, picture_is_there
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
        assert app.studio.pictures.page().total == 0
        context.close()


def test_guests_of_one_page_do_not_see_each_other(browser: Browser, tmp_path: Path) -> None:
    """Not with the link to the other's generation either; the owner sees both."""
    settings = Settings(data_dir=tmp_path / "fluxui", base_model="tiny")
    with serving(settings, host="0.0.0.0") as app:
        assert app.logins
        url = f"http://127.0.0.1:{app.settings.port}"
        one, other, owner = [browser.new_context().new_page() for _ in range(3)]
        for page, password in (
            (one, app.logins.guests[0]),
            (other, app.logins.guests[0]),
            (owner, app.logins.keys[0]),
        ):
            page.goto(url)
            page.get_by_label("Password", exact=True).fill(password)
            page.get_by_role("button", name="Open", exact=True).click()
        paint(one, "a secret boat")
        [generation] = app.studio.pictures.page().generations
        one.reload()
        picture_is_there(one, "#stage .fx-frame img")
        for page in (other, owner):
            page.goto(f"{url}/?job={generation.id}")
        picture_is_there(owner, "#stage .fx-frame img")
        expect(other.locator("#stage")).to_be_visible()
        expect(other.locator("#stage .fx-frame img")).to_have_count(0)
        assert "a secret boat" not in other.content()
        open_tab(other, "Gallery")
        expect(other.locator("#tab-gallery")).not_to_contain_text("a secret boat")
        for page in (one, other, owner):
            page.context.close()
