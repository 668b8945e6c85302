from __future__ import annotations

import pytest
from playwright.sync_api import expect

from fluxui.server import App
from tests.e2e.conftest import OpenPage, pipeline_of
from tests.e2e.steps import act, ask, open_tab

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),  # in Gradio's statistics
]


def test_says_what_runs_and_why_and_cancels_in_the_queue(open_page: OpenPage, app: App) -> None:
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
    pipeline_of(app).gate.set()
    expect(page.locator("#s-queue")).to_contain_text("Nothing is being painted.")
    open_tab(page, "Generate")
    expect(page.locator("#stage")).to_contain_text("Stopped at step")
