"""Once, with nothing faked: the embedded model behind the page."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urljoin

import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

from fluxui.server import App, create_app
from fluxui.settings import Settings
from tests.e2e.steps import ask, open_tab, picture_is_there
from tests.likeness import SAME, difference
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


@pytest.mark.parametrize("index", [4, 5])
def test_an_example_with_a_lora_gives_the_picture_that_it_shows(
    real_app: App, browser: Browser, index: int
) -> None:
    page = browser.new_page()
    page.goto(real_app.url)
    example = page.locator("#stage [data-act=example]").nth(index)
    source = str(example.locator("img").get_attribute("src"))
    shown = Image.open(io.BytesIO(base64.b64decode(source.partition("base64,")[2])))
    example.click()
    expect(page.locator("#lora-1")).to_be_visible()
    page.locator("#go").click()
    expect(page.locator("#status [data-status=completed]")).to_be_visible(timeout=120_000)
    [card] = real_app.studio.pictures.gallery().cards
    painted = Image.open(io.BytesIO(page.request.get(urljoin(real_app.url, card.url)).body()))
    assert difference(painted, shown) < SAME
    page.close()
