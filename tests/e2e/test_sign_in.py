"""A Space with `hf_oauth`, in a real browser, before a stand-in for Hugging Face."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e.steps import ask, open_tab, wait_until_done
from tests.live import serving
from tests.security.provider import provider
from tests.security.test_oauth import space_settings

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),  # in Gradio's statistics
]


def test_signing_in_and_out_on_a_space(browser: Browser, tmp_path: Path) -> None:
    with provider() as hub, serving(space_settings(tmp_path / "fluxui", hub)) as app:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"http://localhost:{app.settings.port}")
        pill(page, "Sign in").click()  # not in a frame, so in this tab
        pill(page, "bob · Sign out").wait_for()
        assert len(context.pages) == 1
        ask(page, "a picture of mine")
        wait_until_done(page)
        assert app.studio.pictures.page().generations[0].visitor == "hf:bob"
        pill(page, "bob · Sign out").click()
        pill(page, "Sign in").wait_for()
        expect(page.locator("#stage")).to_contain_text("small built-in model")
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("")
        hub.name = "ann"
        pill(page, "Sign in").click()
        pill(page, "Owner · Sign out").wait_for()
        open_tab(page, "Gallery")
        expect(page.locator("#g-grid .fx-thumb")).to_have_count(1)
        context.close()


def pill(page: Page, words: str) -> Locator:
    return page.locator("#head .fx-pill", has_text=words)
