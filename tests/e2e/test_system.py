from __future__ import annotations

from threading import Event
from typing import Any

import pytest
from playwright.sync_api import expect

from fluxui.request import GenerationForm
from fluxui.server import App
from fluxui.studio import Studio
from tests.conftest import paint as paint_directly
from tests.e2e.conftest import OpenPage, pipeline_of
from tests.e2e.steps import act, ask, open_tab, wait_until_done

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),  # in Gradio's statistics
]


def test_says_what_runs_and_why_and_cancels_in_the_queue(
    open_page: OpenPage, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, cancel = Event(), Studio.cancel

    def tell(*asked: Any) -> Any:
        answer = cancel(*asked)
        heard.set()
        return answer

    monkeypatch.setattr(Studio, "cancel", tell)
    pipeline_of(app).gate.clear()
    page = open_page()
    ask(page, "something that takes long")
    expect(page.locator("#status")).to_contain_text("Painting")
    open_tab(page, "System")
    expect(page.locator("#s-model")).to_contain_text("FLUXUI_BASE_MODEL is tiny.")
    expect(page.locator("#s-storage")).to_contain_text("folder")
    expect(page.locator("#s-versions")).to_contain_text("6.31")
    expect(page.locator("#s-queue")).to_contain_text("something that takes long")
    act(page, "#s-queue", "cancel")
    assert heard.wait(15)
    pipeline_of(app).gate.set()
    expect(page.locator("#s-queue")).to_contain_text("Nothing is being painted.")
    open_tab(page, "Generate")
    expect(page.locator("#stage")).to_contain_text("Stopped at step")


def test_ones_own_queue_is_put_in_order_held_back_and_let_go(open_page: OpenPage, app: App) -> None:
    paint_directly(app.studio, "so that the time is known")
    pipeline_of(app).gate.clear()
    page = open_page()
    for prompt in ("first", "second", "third"):
        app.studio.submit(GenerationForm(prompt=prompt))
    expect(page.locator("#head")).to_contain_text("3 in queue · ")
    expect(page.locator("#eta")).to_contain_text("in the queue")  # before anybody pressed
    ask(page, "mine, the last")
    expect(page.locator("#status")).to_contain_text("3 ahead of you")
    act(page, "#status", "up")
    expect(page.locator("#status")).to_contain_text("1 ahead of you")
    expect(page.locator("#status [data-act=up]")).to_have_count(0)

    act(page, "#status", "pause")
    expect(page.locator("#status")).to_contain_text("Paused")
    expect(page.locator("#head")).to_contain_text("Paused · 3 wait")
    page.reload()
    expect(page.locator("#status")).to_contain_text("3 wait")
    open_tab(page, "System")
    expect(page.locator("#s-queue")).to_contain_text("Paused · 3 wait")
    act(page, "#s-queue tr:has-text('third')", "up")
    expect(page.locator("#s-queue tbody tr").nth(1)).to_contain_text("third")
    act(page, "#s-queue tr:has-text('second')", "cancel")
    expect(page.locator("#s-queue")).to_contain_text("Paused · 2 wait")
    pipeline_of(app).gate.set()
    expect(page.locator("#s-queue tbody tr")).to_have_count(2)  # what ran has ended, no other began
    act(page, "#s-queue", "resume")
    expect(page.locator("#s-queue")).to_contain_text("Nothing is being painted.")
    open_tab(page, "Generate")
    wait_until_done(page)
    newest = [one.request.prompt for one in app.studio.pictures.page().generations]
    assert sorted(newest) == [
        "first",
        "mine, the last",
        "second",
        "so that the time is known",
        "third",
    ]
