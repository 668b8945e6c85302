"""`/docs` draws every call, and asks nobody but us for anything."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from fluxui.server import App

pytestmark = pytest.mark.browser


def test_docs_open_without_a_network(app: App, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{app.url}/docs")
    expect(page.get_by_text("/api/generate/image", exact=True)).to_be_visible()
    expect(page.get_by_text("/api/models/", exact=True).first).to_be_visible()
    assert [url for url in asked if not url.startswith((app.url, "data:"))] == []
    context.close()
