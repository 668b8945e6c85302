from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from fluxui.server import App
from tests.conftest import paint as paint_directly
from tests.e2e.conftest import OpenPage
from tests.e2e.steps import act, open_tab, picture_is_there

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),  # in Gradio's statistics
]


def fill(app: App, generations: int) -> None:
    for number in range(generations):
        paint_directly(app.studio, f"picture number {number}", num_images=4, width=64, height=64)


def gallery(open_page: OpenPage) -> Page:
    page = open_page("?tab=gallery")
    expect(page.locator("#g-bar .fx-toolbar")).to_be_visible()
    return page


def test_pages_and_neighbours(open_page: OpenPage, app: App) -> None:
    fill(app, 13)  # 52 pictures
    page = gallery(open_page)
    expect(page.locator("#g-bar")).to_contain_text("52 pictures")
    expect(page.locator("#g-bar")).to_contain_text("1 of 2")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(48)
    page.locator("#g-grid .fx-thumb").nth(47).click()
    expect(page.locator("#g-picture")).to_contain_text("48 of 52")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#g-picture")).to_contain_text("49 of 52")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#g-picture")).to_contain_text("48 of 52")
    page.keyboard.press("Escape")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(48)
    act(page, "#g-bar", "older")
    expect(page.locator("#g-bar")).to_contain_text("2 of 2")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(4)
    picture_is_there(page, "#g-grid img")
    act(page, "#g-bar", "newer")
    expect(page.locator("#g-bar")).to_contain_text("1 of 2")


def test_search_and_filter(open_page: OpenPage, app: App) -> None:
    paint_directly(app.studio, "a red boat")
    paint_directly(app.studio, "a blue boat", model_id="dot-art")
    page = gallery(open_page)
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(2)
    page.get_by_label("Search", exact=True).first.fill("red")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(1)
    page.get_by_label("Search", exact=True).first.fill("castel")
    expect(page.locator("#g-grid")).to_contain_text("No picture matches “castel”.")
    act(page, "#g-grid", "clear")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(2)
    expect(page.get_by_label("Search", exact=True).first).to_have_value("")
    page.locator("#g-lora input").click()
    page.get_by_role("option", name="Dot art").click()
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(1)
    expect(page.locator("#g-grid img")).to_have_attribute("alt", "a blue boat")


def test_an_empty_gallery_leads_to_the_form(open_page: OpenPage) -> None:
    page = gallery(open_page)
    expect(page.locator("#g-grid")).to_contain_text("No pictures yet.")
    act(page, "#g-grid", "first")
    expect(page.get_by_label("Prompt", exact=True)).to_be_visible()


def test_the_newest_are_on_the_first_page_of_generate(open_page: OpenPage, app: App) -> None:
    paint_directly(app.studio, "a red boat")
    page = open_page()
    expect(page.locator("#stage")).to_contain_text("Lately")
    act(page, "#stage", "gallery")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(1)
    open_tab(page, "Generate")
    act(page, "#stage", "open")
    expect(page.locator("#status [data-status=completed]")).to_be_visible()


def test_the_file_can_be_downloaded(open_page: OpenPage, app: App) -> None:
    made = paint_directly(app.studio, "a red boat")
    page = open_page(f"?job={made.id}")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == f"{made.id}_1.png"
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_what_is_deleted_elsewhere_leaves_the_page_in_words(open_page: OpenPage, app: App) -> None:
    made = paint_directly(app.studio, "a red boat")
    page = open_page(f"?job={made.id}&tab=gallery")
    page.locator("#g-grid .fx-thumb").click()
    expect(page.locator("#g-picture .fx-detail")).to_be_visible()
    app.studio.delete(made.id)
    act(page, "#g-picture", "vary")
    open_tab(page, "Generate")
    expect(page.locator("#stage")).to_contain_text("There is no generation")
    open_tab(page, "Gallery")
    expect(page.locator("#g-bar")).to_contain_text("There is no generation")
