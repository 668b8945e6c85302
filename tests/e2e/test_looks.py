"""What no other test would notice: overflow, dark, and text that must stay text."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from fluxui.server import App
from tests.conftest import paint as paint_directly
from tests.e2e.conftest import OpenPage
from tests.e2e.steps import add_lora, open_tab, paint

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),  # in Gradio's statistics
]

NASTY = "<img src=x onerror=alert(1)> ${alert(1)} {{value}} `\" '&amp;"
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def no_overflow(page: Page) -> None:
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.evaluate("innerWidth")


def test_works_on_a_phone(open_page: OpenPage) -> None:
    page = open_page(**PHONE)
    no_overflow(page)
    page.screenshot()
    add_lora(page, "Dot art")
    paint(page, "a very long prompt " * 20)
    no_overflow(page)
    expect(page.locator("#go")).to_be_in_viewport()
    for name in ("Gallery", "LoRAs", "System"):
        open_tab(page, name)
        page.wait_for_timeout(300)
        no_overflow(page)
    open_tab(page, "Gallery")
    page.locator("#g-grid .fx-thumb").first.click()
    expect(page.locator("#g-picture .fx-detail")).to_be_visible()
    no_overflow(page)


def test_dark_is_dark_and_light_is_light(open_page: OpenPage) -> None:
    shades = {}
    for scheme in ("dark", "light"):
        page = open_page(color_scheme=scheme)
        paint(page, "a boat")
        for selector in ("body", "#form", "#stage .fx-btn"):
            colour = page.locator(selector).first.evaluate(
                "e => getComputedStyle(e).backgroundColor.match(/[\\d.]+/g).slice(0, 3).map(Number)"
            )
            shades[scheme, selector] = sum(colour) / 3
    for (scheme, selector), shade in shades.items():
        assert (shade < 80) == (scheme == "dark"), (scheme, selector, shade)


def test_what_people_type_stays_text(open_page: OpenPage, app: App, lora_path: Path) -> None:
    """Markup, template strings and handlebars, on every surface. `open_page` fails on a dialog."""
    lora = app.studio.collection.add(lora_path, name=NASTY[:100], trigger_words=(NASTY[:100],))
    try:
        paint_directly(app.studio, NASTY, model_id=lora.model_id)
        page = open_page()
        expect(page.locator("#stage .fx-thumb")).to_be_visible()
        page.locator("#stage .fx-thumb").first.click()
        page.locator("#stage [data-act=use]").click()
        expect(page.get_by_label("Prompt", exact=True)).to_have_value(NASTY)
        expect(page.locator("#lora-1-head")).to_contain_text("<img src=x")
        page.locator("#go").click()
        expect(page.locator("#status [data-status=completed]")).to_be_visible()
        open_tab(page, "Gallery")
        page.locator("#g-grid .fx-thumb").first.click()
        expect(page.locator("#g-picture .fx-prompt")).to_contain_text(NASTY)
        page.keyboard.press("Escape")
        page.locator("#g-search textarea, #g-search input").fill("nothing " + NASTY)
        expect(page.locator("#g-grid")).to_contain_text("${alert(1)} {{value}}")
        open_tab(page, "LoRAs")
        expect(page.locator("#l-cards")).to_contain_text("${alert(1)}")
        page.locator("#l-cards .fx-card", has_text="alert").click()
        expect(page.locator("#l-nav")).to_contain_text("<img src=x")
        assert page.locator("img[src=x]").count() == 0
    finally:
        app.studio.collection.delete(lora.model_id)


def test_keyboard_reaches_every_part(open_page: OpenPage) -> None:
    page = open_page()
    page.get_by_label("Prompt", exact=True).focus()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.closest('[id]')?.id ?? ''"))
        if reached[-1] == "go":
            break
    assert reached[-1] == "go", reached


def test_no_width_makes_it_scroll_sideways(open_page: OpenPage, app: App) -> None:
    made = paint_directly(app.studio, "word" * 100, num_images=4)  # nothing to break it at
    page = open_page(f"?job={made.id}")
    expect(page.locator("#stage .fx-film")).to_be_visible()
    for name in ("Generate", "Gallery", "LoRAs", "System"):
        open_tab(page, name)
        for width in (320, 768, 1024, 1440, 1920):
            page.set_viewport_size({"width": width, "height": 900})
            no_overflow(page)
