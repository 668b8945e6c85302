"""Once, with nothing faked: the embedded model behind the page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from fluxui.server import App, create_app
from fluxui.settings import Settings
from tests.e2e.steps import ask, open_tab, picture_is_there
from tests.live import free_port

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),  # in Gradio's statistics
]


async def _launched(settings: Settings) -> App:
    app = create_app(settings)
    app.launch()
    return app


@pytest.fixture
def real_app(tmp_path: Path) -> Iterator[App]:
    settings = Settings(data_dir=tmp_path / "fluxui", base_model="tiny", port=free_port())
    with ThreadPoolExecutor(1) as thread:  # this one may already run the browser's loop
        app = thread.submit(lambda: asyncio.run(_launched(settings))).result()
    yield app
    app.close()


def test_the_embedded_model_paints(real_app: App, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(real_app.url)
    expect(page.locator("#stage")).to_contain_text("This is the small built-in model.")
    ask(page, "a red lighthouse by the sea", steps=4)
    expect(page.locator("#status [data-status=completed]")).to_be_visible(timeout=120_000)
    picture_is_there(page, "#stage .fx-frame img")
    open_tab(page, "System")
    expect(page.locator("#s-device")).to_contain_text("Precision")
    page.close()
