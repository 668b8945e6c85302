from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from fluxui.generation import Status
from fluxui.history import Query
from fluxui.server import App
from tests.e2e.conftest import OpenPage, pipeline_of
from tests.e2e.steps import act, picture_is_there

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),  # in Gradio's statistics
]


def test_a_strip_is_painted_kept_and_chosen_from(
    open_page: OpenPage, app: App, tmp_path: Path
) -> None:
    pipeline_of(app).step_seconds = 0.05
    page = open_page("?tab=loras")
    page.locator("[data-act=lora][data-id=dot-art]").click()
    page.get_by_label("Weight strip").fill("a harbour")
    page.locator("#l-paint").click()
    expect(page.locator("#l-strip .fx-cell")).to_have_count(4)
    expect(page.locator("#l-strip .fx-wait").first).to_be_visible()
    page.reload()  # the strip is not the page's
    page.locator("[data-act=lora][data-id=dot-art]").click()
    expect(page.locator("#l-strip [data-grid=done]")).to_be_visible()
    expect(page.locator("#l-strip .fx-thumb")).to_have_count(4)
    expect(page.locator("#l-made .fx-thumb")).to_have_count(4)
    picture_is_there(page, "#l-strip .fx-thumb img")
    made = app.studio.pictures.page(Query(tag="strip")).generations
    assert {one.request.loras[0].weight for one in made} == {0, 0.4, 0.8, 1.2}
    assert len({one.request.seed for one in made}) == 1

    expect(page.locator("#l-strip .fx-default")).to_contain_text("0.8")
    page.locator("#l-strip [data-act=weight][data-weight='1.2']").click()
    expect(page.locator("#l-strip .fx-default")).to_contain_text("1.2")
    expect(page.locator("#l-weight input[type=number]")).to_have_value("1.2")
    assert app.studio.collection.get("dot-art").default_weight == 1.2
    app.studio.collection.update("dot-art", default_weight=0.8)
    with page.expect_download() as download:
        page.locator("#l-strip a[download]").click()
    download.value.save_as(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_a_strip_is_cancelled_and_bad_weights_are_refused(open_page: OpenPage, app: App) -> None:
    page = open_page("?tab=loras")
    page.locator("[data-act=lora][data-id=dot-art]").click()
    page.get_by_label("Weights", exact=True).fill("0.5, 7")
    page.locator("#l-paint").click()
    expect(page.locator("#l-strip [role=alert]")).to_contain_text("2 to 8 numbers from 0 to 2")
    pipeline_of(app).step_seconds = 1.0
    page.get_by_label("Weights", exact=True).fill("0 0.5 1")
    page.locator("#l-paint").click()
    act(page, "#l-strip", "stop")
    expect(page.locator("#l-strip [data-act=again]")).to_have_count(3)
    made = app.studio.pictures.page(Query(tag="strip")).generations
    assert [one.status for one in made] == [Status.cancelled] * 3
    pipeline_of(app).step_seconds = 0.0
    page.locator("#l-strip [data-act=again]").last.click()
    expect(page.locator("#l-strip .fx-thumb")).to_have_count(1)


def test_loras_are_compared_and_the_grid_is_there_again(open_page: OpenPage, app: App) -> None:
    page = open_page("?tab=loras")
    page.locator("#l-compare").click()
    page.locator("#l-grid-paint").click()
    expect(page.locator("#l-grid")).to_contain_text("Choose the LoRAs first.")
    for name in ("Dot art", "Pixel art"):
        page.get_by_label("LoRAs to compare").click()
        page.get_by_role("option", name=name, exact=True).click()
    page.keyboard.press("Escape")
    page.locator("#l-across").get_by_text("Prompts").click()
    page.get_by_label("Prompts, one a line").fill("a harbour\n\na wood at night")
    expect(page.locator("#l-grid-paint")).to_contain_text("4 pictures")
    page.locator("#l-grid-paint").click()
    expect(page.locator("#l-grid [data-grid=done]")).to_be_visible()
    expect(page.locator("#l-grid .fx-thumb")).to_have_count(4)
    made = app.studio.pictures.page(Query(tag="grid")).generations
    assert {one.request.prompt for one in made} == {"a harbour", "a wood at night"}
    page.reload()
    page.locator("#l-compare").click()
    expect(page.locator("#l-grid .fx-thumb")).to_have_count(4)
    expect(page.get_by_label("Prompts, one a line")).to_have_value("a harbour\na wood at night")
    page.locator("#l-grid .fx-thumb").first.click()
    picture_is_there(page, "#stage .fx-frame img")


def test_a_cell_tried_again_while_the_strip_is_followed_is_followed_too(
    open_page: OpenPage, app: App
) -> None:
    """The browser still waits for the last word of the watch before."""
    page = open_page("?tab=loras")
    page.locator("[data-act=lora][data-id=dot-art]").click()
    pipeline_of(app).step_seconds = 0.2
    page.get_by_label("Weights", exact=True).fill("0 0.5")
    page.locator("#l-paint").click()
    act(page, "#l-strip", "stop")
    page.wait_for_function(
        """() => {
            const cells = document.querySelectorAll('#l-strip [data-act=again]')
            if (cells.length === 2) cells[1].click()
            return cells.length === 2
        }"""
    )
    expect(page.locator("#l-strip .fx-thumb")).to_have_count(1)
