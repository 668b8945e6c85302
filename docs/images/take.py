"""Take the pictures of this folder anew: python docs/images/take.py, from the root.

It starts fluxui with the embedded model on a free port and a folder of its own, paints what the
pictures show, and drives Debian's Chromium. It needs requirements-dev.txt, and some minutes.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))

from fluxui.request import GenerationForm  # noqa: E402
from fluxui.server import App, serve  # noqa: E402
from fluxui.settings import Settings  # noqa: E402
from tests.live import free_port  # noqa: E402

PROMPTS = (
    "snowy mountains at sunset",
    "a red lighthouse on the right, the sea at sunset",
    "a forest at night, full moon and stars",
    "two purple balloons over green hills by day",
    "a blue boat on a lake in the morning light",
    "a yellow tent on the left, a forest in fog",
    "a white castle in the middle, mountains in a storm",
    "a city at night, the moon",
    "a pink windmill near a village in the snow",
)
LORAS = ("", "pixel-art", "", "neon-night", "", "")
PICTURES = 56
DESKTOP, PHONE = (1440, 900), (390, 844)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as thread:
        os.environ["HOME"] = folder  # so that nobody's folder is in the pictures
        settings = Settings(port=free_port())
        app = thread.submit(serve, settings, block=False).result()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path="/usr/bin/chromium",
                    args=["--no-sandbox", "--disable-dev-shm-usage"],
                )
                take(app, browser)
                browser.close()
        finally:
            app.close()


def take(app: App, browser: Browser) -> None:
    with opened(browser, app) as page:
        page.wait_for_selector("#stage [data-act=example], #stage .fx-empty")
        shoot(page, "first-run")
    paint_many(app)
    for scheme, suffix in (("light", ""), ("dark", "-dark")):
        with opened(browser, app, scheme) as page:
            generate(page)
            shoot(page, f"generate{suffix}")
            if scheme == "light":
                page.locator("#stage [data-act=compare]").click()
                page.wait_for_selector(".fx-compare")
                shoot(page, "compare")
            for name in ("Gallery", "LoRAs", "System"):
                page.get_by_role("tab", name=name).click()
                shoot(page, f"{name.lower()}{suffix}")
    with opened(browser, app, size=PHONE) as page:
        generate(page)
        page.locator("#stage .fx-frame").scroll_into_view_if_needed()
        shoot(page, "phone")


@contextmanager
def opened(
    browser: Browser, app: App, scheme: str = "light", size: tuple[int, int] = DESKTOP
) -> Iterator[Page]:
    width, height = size
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page.goto(app.url)
    page.locator("#head .fx-pills").wait_for()
    yield page
    page.close()


def paint_many(app: App) -> None:
    for number in range(PICTURES):
        values: dict[str, object] = {"prompt": PROMPTS[number % len(PROMPTS)], "seed": number}
        if lora := LORAS[number % len(LORAS)]:
            values["model_id"] = lora
        app.studio.submit(GenerationForm.parse(values))
        while len(app.studio.jobs()) > 20:
            time.sleep(0.2)
    while app.studio.jobs():
        time.sleep(0.2)


def generate(page: Page) -> None:
    """The picture of the README: four images with a LoRA."""
    page.get_by_label("Prompt", exact=True).fill("mountains at sunset")
    page.get_by_label("Add a LoRA").click()
    page.get_by_role("option", name="Neon night", exact=True).click()
    page.locator("#lora-1").wait_for()
    page.get_by_label("Seed", exact=True).fill("4")
    page.locator("#num label").nth(3).click()
    page.locator("#go").click()
    page.wait_for_selector("#status [data-status=completed]", timeout=120_000)


def shoot(page: Page, name: str) -> None:
    page.wait_for_timeout(1500)  # pictures decode, toasts and transitions end
    page.mouse.move(0, 0)
    page.screenshot(path=HERE / f"{name}.png")
    print(name)


if __name__ == "__main__":
    main()
