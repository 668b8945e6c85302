from __future__ import annotations

import time
import zipfile
from base64 import b64encode

import pytest
from playwright.sync_api import Page, expect

from fluxui.gallery import GalleryPage
from fluxui.history import Query
from fluxui.images import encode, read_settings
from fluxui.pictures import Pictures
from fluxui.server import App
from fluxui.settings import OutputFormat
from tests.conftest import paint as paint_directly
from tests.e2e.conftest import OpenPage
from tests.e2e.steps import act, open_tab, picture_is_there

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),  # in Gradio's statistics
]


OTHER_FORMATS: tuple[OutputFormat, ...] = ("webp", "jpeg")


def fill(app: App, generations: int) -> None:
    for number in range(generations):
        paint_directly(app.studio, f"picture number {number}", num_images=4, width=128, height=128)


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
    expect(page.locator("#g-visitor, #g-model")).to_have_count(0)
    made = paint_directly(app.studio, "a boat of somebody else")
    app.studio._history.replace(made.model_copy(update={"visitor": "hf:ada"}))
    page = gallery(open_page)
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(3)
    page.locator("#g-visitor input").click()
    page.get_by_role("option", name="ada").click()
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(1)
    expect(page.locator("#g-grid img")).to_have_attribute("alt", "a boat of somebody else")
    expect(page.locator("#g-model")).to_have_count(0)


def test_several_are_selected_zipped_compared_deleted_and_brought_back(
    open_page: OpenPage, app: App
) -> None:
    for name in ("one", "two", "three", "four"):
        paint_directly(app.studio, name)
    page = gallery(open_page)
    act(page, "#g-bar", "select")
    cells = page.locator("#g-grid [data-act=tick]")
    cells.nth(0).click()
    cells.nth(2).click(modifiers=["Shift"])
    expect(page.locator("#g-bar")).to_contain_text("3 selected")
    cells.nth(1).click()
    expect(page.locator("#g-bar")).to_contain_text("2 selected")
    expect(page.locator("#g-grid [aria-pressed=true]")).to_have_count(2)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download zip").click()
    assert len(zipfile.ZipFile(download.value.path()).namelist()) == 3
    act(page, "#g-bar", "pair")
    expect(page.locator("#g-picture .fx-compare img")).to_have_count(2)
    expect(page.locator("#g-picture .fx-pair")).to_contain_text("four")
    act(page, "#g-picture", "back")
    expect(page.locator("#g-bar")).to_contain_text("2 selected")
    expect(page.locator("#g-grid [aria-pressed=true]").last).to_be_visible()
    click_all = "found => found.forEach(cell => cell.click())"  # faster than any answer
    page.locator("#g-grid [aria-pressed=false]").evaluate_all(click_all)
    expect(page.locator("#g-bar")).to_contain_text("4 selected")
    cells.evaluate_all("found => found.slice(2).forEach(cell => cell.click())")
    expect(page.locator("#g-bar")).to_contain_text("2 selected")
    act(page, "#g-bar", "trash")
    expect(page.locator("#g-bar")).to_contain_text("2 pictures moved to the trash.")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(2)
    act(page, "#g-bar", "undo")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(4)


CLICK_SLOWLY = """async cells => {
    for (const cell of cells) { cell.click(); await new Promise(done => setTimeout(done, 150)); }
}"""
TICK_AND_THROW = """cell => {
    cell.click();
    document.querySelector('#g-bar [data-act=trash]').click();
}"""


def test_no_click_is_lost_while_an_answer_is_on_its_way(
    open_page: OpenPage, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        paint_directly(app.studio, f"{number}", width=128, height=128)
    page, find = gallery(open_page), Pictures.gallery

    def slow(self: Pictures, query: Query, cursor: str = "") -> GalleryPage:
        time.sleep(0.4)
        return find(self, query, cursor)

    monkeypatch.setattr(Pictures, "gallery", slow)
    act(page, "#g-bar", "select")
    cells = page.locator("#g-grid [data-act=tick]")
    expect(cells).to_have_count(6)
    cells.evaluate_all(CLICK_SLOWLY)
    expect(page.locator("#g-bar")).to_contain_text("6 selected")
    cells.last.evaluate(TICK_AND_THROW)
    expect(page.locator("#g-bar")).to_contain_text("5 pictures moved to the trash.")
    act(page, "#g-bar", "undo")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(6)
    page.locator("#g-grid .fx-thumb").first.click()
    expect(page.locator("#g-picture")).to_contain_text("1 of 6")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#g-picture")).to_contain_text("4 of 6")
    throw = page.locator("#g-picture [data-act=delete]")
    throw.evaluate("button => { button.click(); button.click(); }")
    expect(page.locator("#g-bar")).to_contain_text("1 picture moved to the trash.")
    act(page, "#g-bar", "undo")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(6)


def test_a_star_a_tag_and_a_size_find_it_again(open_page: OpenPage, app: App) -> None:
    paint_directly(app.studio, "plain")
    paint_directly(app.studio, "wide", width=256, height=128)
    page = gallery(open_page)
    page.locator("#g-grid .fx-thumb").first.click()
    act(page, "#g-picture", "favourite")
    expect(page.locator("#g-picture")).to_contain_text("★ Favourite")
    page.locator("#g-tags").get_by_role("textbox").fill("<i>sea</i>, Night")
    page.keyboard.press("Enter")
    expect(page.locator("#g-picture .fx-tag-button")).to_have_count(2)
    page.locator("[data-zoom]").click()
    expect(page.locator("#g-picture .fx-zoomed")).to_be_visible()
    page.locator("#g-picture .fx-tag-button").nth(0).click()
    expect(page.locator("#g-bar")).to_contain_text("tag: <i>sea</i>")
    expect(page.locator("#g-grid .fx-star")).to_have_count(1)
    act(page, "#g-bar", "untag")
    expect(page.locator("#g-bar")).not_to_contain_text("tag:")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(2)
    act(page, "#g-bar", "favourites")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(1)
    expect(page.locator("#g-grid img")).to_have_attribute("alt", "wide")
    act(page, "#g-bar", "favourites")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(2)
    page.get_by_label("Search", exact=True).first.fill("tag:night")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(1)
    act(page, "#g-bar", "untag")
    page.get_by_label("Search", exact=True).first.fill("")
    page.locator("#g-size input").click()
    page.get_by_role("option", name="256 × 128").click()
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(1)


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


def test_a_dropped_picture_fills_the_form(open_page: OpenPage, app: App) -> None:
    made = paint_directly(app.studio, "a <b>castle</b> ${1}", seed=7, model_id="dot-art")
    with app.studio.pictures.open(app.studio.pictures.image(made.id, 1)) as stream:
        content = stream.read()
    page = gallery(open_page)
    with page.expect_file_chooser() as chooser:
        page.locator("#g-bar [data-press]").click()
    chooser.value.set_files({"name": "<i>.png", "mimeType": "image/png", "buffer": content})
    expect(page.locator("#stage")).to_contain_text("Settings restored from")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a <b>castle</b> ${1}")
    expect(page.locator("#seed").get_by_role("textbox")).to_have_value("7")
    expect(page.locator("#form")).to_contain_text("Dot art")
    drop = """content => {
        const data = new DataTransfer();
        const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
        data.items.add(new File([bytes], 'x.png', {type: 'image/png'}));
        const how = {dataTransfer: data, bubbles: true, cancelable: true};
        document.querySelector('#stage').dispatchEvent(new DragEvent('drop', how));
    }"""
    page.evaluate(drop, b64encode(b"<svg/>").decode())
    expect(page.locator("#stage")).to_contain_text("This is not a PNG, WebP or JPEG")
    settings = read_settings(content)
    for seed, kind in enumerate(OTHER_FORMATS):
        other = encode(bytes(64 * 64 * 3), 64, 64, settings | {"seed": seed}, kind)
        page.evaluate(drop, b64encode(other).decode())
        expect(page.locator("#seed").get_by_role("textbox")).to_have_value(str(seed))
        expect(page.locator("#stage")).to_contain_text("Generate paints the same picture.")


def test_a_picture_is_varied_and_painted_again(open_page: OpenPage, app: App) -> None:
    made = paint_directly(app.studio, "a castle", seed=7, model_id="dot-art", width=128, height=128)
    page = open_page(f"?job={made.id}&tab=gallery")
    page.locator("#g-grid .fx-thumb").click()
    act(page, "#g-picture", "verify")
    expect(page.locator("#stage")).to_contain_text("Bit-identical.")
    page.locator("#stage").get_by_role("button", name="Delete the second one").click()
    expect(page.locator("#stage")).to_contain_text("1 picture moved to the trash.")
    open_tab(page, "Gallery")
    page.locator("#g-picture").get_by_role("button", name="3 steps").click()
    expect(page.locator("#status [data-status=completed]")).to_be_visible()
    newest = app.studio.pictures.page(limit=1).generations[0].request
    assert (newest.num_inference_steps, newest.seed) == (3, 7)
