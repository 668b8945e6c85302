from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from fluxui.errors import OutOfMemory, QueueFull
from fluxui.server import App
from fluxui.settings import Settings
from tests.conftest import paint as paint_directly
from tests.e2e.conftest import OpenPage, pipeline_of
from tests.e2e.steps import (
    act,
    add_lora,
    ask,
    open_tab,
    paint,
    picture_is_there,
    set_steps,
    wait_until_done,
)
from tests.live import serving

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),  # in Gradio's statistics
]


def test_prompt_to_picture_to_gallery_and_back(open_page: OpenPage, app: App) -> None:
    """The main job, as the README tells it."""
    page = open_page()
    page.get_by_label("Prompt", exact=True).fill("a yellow castle")
    add_lora(page, "Dot art")
    expect(page.locator("#lora-1-head")).to_contain_text("adds “dot art”")
    weight = page.locator("#lora-1-weight input[type=number]")
    weight.fill("0.6")
    weight.blur()
    page.locator("#ratio").get_by_text("16:9").click()
    expect(page.locator("#ratio")).to_contain_text("336 × 192")
    page.locator("#num").get_by_text("2", exact=True).click()
    set_steps(page, 3)
    page.locator("#go").click()
    wait_until_done(page)
    expect(page.locator("#stage")).to_contain_text("dot-art 0.6 · 1/1 layers")
    expect(page.locator("#stage .fx-shot")).to_have_count(2)
    page.locator("#stage .fx-shot").nth(1).click()
    expect(page.locator("#stage .fx-shot").nth(1)).to_have_attribute("aria-current", "true")
    picture_is_there(page, "#stage .fx-frame img")
    made = app.studio.pictures.page().generations[0]
    assert (made.request.width, made.request.height) == (336, 192)
    assert made.painted == "dot art, a yellow castle"

    open_tab(page, "Gallery")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(2)
    page.locator("#g-grid .fx-thumb").nth(1).click()
    expect(page.locator("#g-picture")).to_contain_text("dot-art 0.6 · 1/1 layers")
    expect(page.locator("#g-picture")).to_contain_text(made.id)
    picture_is_there(page, "#g-picture .fx-frame img")

    page.get_by_label("Prompt", exact=True).fill("something else", force=True)
    act(page, "#g-picture", "use")
    expect(page.locator("#toast")).to_contain_text("Settings restored")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a yellow castle")
    expect(page.get_by_label("Seed", exact=True)).to_have_value(str(made.images[1].seed))
    expect(page.locator("#lora-1-weight input[type=number]")).to_have_value("0.6")
    expect(page.locator("#ratio")).to_contain_text("336 × 192")

    open_tab(page, "Gallery")
    act(page, "#g-picture", "delete")
    expect(page.locator("#g-bar")).to_contain_text("2 pictures moved to the trash.")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(0)
    act(page, "#g-bar", "undo")
    expect(page.locator("#g-grid .fx-thumb")).to_have_count(2)
    picture_is_there(page, "#g-grid img")


def test_ctrl_enter_generates_and_the_seed_can_be_used_again(open_page: OpenPage, app: App) -> None:
    page = open_page()
    set_steps(page, 2)
    page.get_by_label("Prompt", exact=True).fill("a boat")
    page.get_by_label("Prompt", exact=True).press("Control+Enter")
    wait_until_done(page)
    seed = app.studio.pictures.page().generations[0].request.seed
    page.locator("#reuse").click()
    expect(page.get_by_label("Seed", exact=True)).to_have_value(str(seed))
    page.locator("#dice").click()
    expect(page.get_by_label("Seed", exact=True)).not_to_have_value(str(seed))


def test_a_reload_finds_the_picture_that_is_being_painted(open_page: OpenPage, app: App) -> None:
    pipeline_of(app).step_seconds = 0.1
    page = open_page()
    ask(page, "a slow lighthouse", steps=60)
    expect(page.locator("#status")).to_contain_text("step")
    pipeline_of(app).gate.clear()
    page.reload()
    expect(page.locator("#stage")).to_contain_text("Welcome back.")
    expect(page.locator("#cancel")).to_be_visible()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a slow lighthouse")
    pipeline_of(app).gate.set()
    wait_until_done(page)
    assert len(app.studio.pictures.page().generations) == 1


def test_the_link_of_a_picture_opens_it(open_page: OpenPage, app: App) -> None:
    first = open_page(permissions=["clipboard-read", "clipboard-write"])
    first.locator("#num").get_by_text("2", exact=True).click()
    paint(first, "a tree at dawn")
    first.locator("#stage .fx-shot").nth(1).click()
    expect(first.locator("#stage .fx-shot").nth(1)).to_have_attribute("aria-current", "true")
    first.get_by_role("button", name="Copy link").click()
    expect(first.get_by_role("button", name="Link copied")).to_be_visible()
    link = first.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{app.url}/?job={app.studio.pictures.page().generations[0].id}")
    page = open_page(link.removeprefix(f"{app.url}/"))
    wait_until_done(page)
    expect(page.locator("#stage .fx-shot").nth(1)).to_have_attribute("aria-current", "true")
    picture_is_there(page, "#stage .fx-frame img")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a tree at dawn")
    gone = open_page("?job=no-such-job")
    expect(gone.locator("#stage [role=alert]")).to_contain_text("There is no generation")


def test_cancel_says_where_it_stopped_and_it_can_be_painted_again(
    open_page: OpenPage, app: App
) -> None:
    pipeline_of(app).step_seconds = 0.1
    page = open_page()
    ask(page, "a city", steps=100)
    expect(page.locator("#status")).to_contain_text("step")
    page.locator("#cancel").click()
    expect(page.locator("#stage")).to_contain_text(re.compile(r"Stopped at step \d+ of 100\."))
    expect(page.locator("#go")).to_be_visible()
    pipeline_of(app).step_seconds = 0.0
    act(page, "#stage", "again")
    wait_until_done(page)


def test_compare_paints_the_same_picture_without_the_lora(open_page: OpenPage, app: App) -> None:
    page = open_page()
    add_lora(page, "Dot art")
    expect(page.locator("#lora-1")).to_be_visible()
    paint(page, "a castle")
    act(page, "#stage", "compare")
    slider = page.locator(".fx-compare input")
    slider.focus()
    for _ in range(10):
        slider.press("ArrowLeft")
    expect(page.locator(".fx-compare")).to_have_attribute("style", re.compile(r"--x: ?40%"))
    twin, first = app.studio.pictures.page().generations
    assert twin.request.loras == ()
    assert (twin.painted, twin.request.seed) == (first.painted, first.request.seed)
    act(page, "#stage", "back")
    act(page, "#stage", "compare")
    expect(page.locator(".fx-compare")).to_be_visible()
    assert len(app.studio.pictures.page().generations) == 2  # the twin was there already


def test_none_takes_every_lora_away(open_page: OpenPage, app: App) -> None:
    page = open_page()
    add_lora(page, "Dot art")
    expect(page.locator("#lora-1")).to_be_visible()
    add_lora(page, "None")
    expect(page.locator("#lora-1")).to_be_hidden()
    add_lora(page, "Dot art")
    page.get_by_role("button", name="Remove Dot art").click()
    expect(page.locator("#lora-1")).to_be_hidden()
    paint(page, "a plain castle")
    assert app.studio.pictures.page().generations[0].request.loras == ()


def test_what_is_wrong_is_said_before_anything_is_queued(open_page: OpenPage, app: App) -> None:
    page = open_page()
    page.locator("#go").click()
    expect(page.locator("#stage")).to_contain_text("Write a prompt first.")
    page.get_by_label("Prompt", exact=True).fill("a boat")
    page.get_by_label("Seed", exact=True).fill("banana")
    page.locator("#go").click()
    expect(page.locator("#stage [role=alert]")).to_contain_text("seed should be a valid integer")
    set_steps(page, 2)
    page.get_by_label("Seed", exact=True).fill("")
    page.get_by_label("Width").fill("100")
    page.get_by_label("Width").blur()
    expect(page.locator("#eta")).to_contain_text("width should be a multiple of 16")
    assert app.studio.pictures.page().total == 0


def test_vary_paints_at_once_with_another_seed(open_page: OpenPage, app: App) -> None:
    page = open_page()
    paint(page, "a house")
    act(page, "#stage", "vary")
    expect(page.locator("#stage")).not_to_contain_text(
        str(app.studio.pictures.page().generations[-1].request.seed)
    )
    wait_until_done(page)
    newer, older = app.studio.pictures.page().generations
    assert newer.request.prompt == older.request.prompt
    assert newer.request.seed != older.request.seed


def test_the_call_as_code_follows_what_is_shown(open_page: OpenPage) -> None:
    page = open_page()
    expect(page.locator("#as-code")).to_be_hidden()
    paint(page, "it's a boat")
    page.get_by_text("This call as code").click()
    expect(page.locator("#code")).to_contain_text("/api/generate/image")
    page.locator("#lang").get_by_text("CLI", exact=True).click()
    expect(page.locator("#code")).to_contain_text("python -m fluxui generate")


def test_a_second_visitor_waits_in_line(open_page: OpenPage, app: App) -> None:
    pipeline_of(app).gate.clear()
    first, second = open_page(), open_page()
    ask(first, "first")
    expect(first.locator("#status")).to_contain_text("Painting")
    ask(second, "second")
    expect(second.locator("#status")).to_contain_text("1 ahead of you")
    second.locator("#cancel").click()
    expect(second.locator("#stage")).to_contain_text("Taken out of the queue.")
    pipeline_of(app).gate.set()
    wait_until_done(first)


def test_a_click_on_an_example_fills_the_form_and_starts_nothing(
    open_page: OpenPage, app: App
) -> None:
    page = open_page()
    expect(page.locator("#stage")).to_contain_text("This is the small built-in model.")
    last = page.locator("#stage [data-act=example]").last
    picture_is_there(page, "#stage [data-act=example] img")
    last.click()
    expect(page.get_by_label("Prompt", exact=True)).not_to_have_value("")
    expect(page.get_by_label("Seed", exact=True)).not_to_have_value("")
    expect(page.locator("#lora-1")).to_be_visible()
    expect(page.get_by_role("radio", name="3:2")).to_be_checked()
    assert app.studio.pictures.page().total == 0
    act(page, "#stage", "system")
    expect(page.locator("#s-model")).to_contain_text("FLUXUI_BASE_MODEL=flux1-dev")


def test_a_full_queue_keeps_the_settings_and_offers_to_try_again(
    open_page: OpenPage, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise QueueFull(64, 120)

    page = open_page()
    monkeypatch.setattr(type(app.studio), "submit", refuse)
    ask(page, "a boat")
    expect(page.locator("#stage")).to_contain_text("The queue is full (64).")
    monkeypatch.undo()
    page.locator("#stage").get_by_role("button", name="Try again").click()
    wait_until_done(page)


def test_what_fails_says_why_and_can_be_tried_again(open_page: OpenPage, app: App) -> None:
    pipeline_of(app).error = OutOfMemory("Out of memory at step 3.")
    page = open_page()
    ask(page, "too large")
    expect(page.locator("#stage [role=alert]")).to_contain_text("Out of memory at step 3.")
    pipeline_of(app).error = None
    act(page, "#stage", "again")
    wait_until_done(page)


def fill_all_in(page: Page) -> None:
    page.get_by_label("Prompt", exact=True).fill("typed, and not yet asked for")
    add_lora(page, "Dot art")
    weight = page.locator("#lora-1-weight input[type=number]")
    weight.fill("0.35")
    weight.blur()
    page.locator("#num").get_by_text("3", exact=True).click()
    page.get_by_label("Seed", exact=True).fill("4711")
    set_steps(page, 7)
    guidance = page.locator("#guidance input[type=number]")
    guidance.fill("2.5")
    guidance.blur()
    page.get_by_label("Width").fill("160")
    page.get_by_label("Width").blur()
    expect(page.locator("#ratio")).to_contain_text("160 × 256")


def expect_all_filled_in(page: Page) -> None:
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("typed, and not yet asked for")
    expect(page.locator("#lora-1-head")).to_contain_text("Dot art")
    expect(page.locator("#lora-1-weight input[type=number]")).to_have_value("0.35")
    expect(page.locator("#num input:checked")).to_have_value("3")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("4711")
    expect(page.locator("#advanced")).to_contain_text("7 steps · guidance 2.5")
    expect(page.locator("#ratio")).to_contain_text("160 × 256")


def test_what_was_typed_survives_a_reload(open_page: OpenPage, app: App) -> None:
    page = open_page()
    fill_all_in(page)
    page.reload()
    expect_all_filled_in(page)
    page.reload()  # what was brought back is kept like what is typed
    expect_all_filled_in(page)
    page.get_by_role("button", name="Remove Dot art").click()
    expect(page.locator("#lora-1")).to_be_hidden()
    page.get_by_label("Prompt", exact=True).fill("")
    page.reload()
    expect(page.get_by_label("Seed", exact=True)).to_have_value("4711")
    expect(page.locator("#lora-1")).to_be_hidden()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("")
    page.locator("#prompt textarea").fill("a tree")
    page.locator("#go").click()
    wait_until_done(page)
    asked = app.studio.pictures.page().generations[0].request
    assert (asked.width, asked.num_images, asked.num_inference_steps) == (160, 3, 7)


def test_a_link_wins_over_what_was_typed(open_page: OpenPage, app: App) -> None:
    made = paint_directly(app.studio, "a picture with a link")
    page = open_page()
    page.get_by_label("Prompt", exact=True).fill("typed")
    page.goto(f"{app.url}/?job={made.id}")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a picture with a link")


def test_a_lora_that_is_gone_meanwhile_is_said(
    open_page: OpenPage, app: App, lora_path: Path
) -> None:
    lora = app.studio.collection.add(lora_path, name="Ink line")
    page = open_page()
    page.get_by_label("Prompt", exact=True).fill("a boat")
    add_lora(page, "Ink line")
    expect(page.locator("#lora-1")).to_be_visible()
    app.studio.collection.delete(lora.model_id)
    page.reload()
    expect(page.locator("#stage")).to_contain_text("Your form is back. Now without ink-line")
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a boat")
    expect(page.locator("#lora-1")).to_be_hidden()


def test_the_next_visitor_of_this_browser_finds_nothing(browser: Browser, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "fluxui", base_model="tiny", insecure=True)
    with serving(settings, host="0.0.0.0") as app:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{app.settings.port}")
        page.locator("#head .fx-pills").wait_for()
        page.get_by_label("Prompt", exact=True).fill("a secret plan")
        page.reload()
        page.locator("#head .fx-pills").wait_for()
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("a secret plan")
        context.clear_cookies()  # another visitor now
        page.reload()
        page.locator("#head .fx-pills").wait_for()
        expect(page.locator("#stage")).to_contain_text("small built-in model")
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("")
        page.reload()
        page.locator("#head .fx-pills").wait_for()
        expect(page.get_by_label("Prompt", exact=True)).to_have_value("")
        context.close()
