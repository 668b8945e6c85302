"""A real Chromium before a real server. Only the pipeline is fake, but for one test."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from fluxui.server import App
from fluxui.settings import Settings
from fluxui.studio import Studio
from tests.conftest import FakePipeline
from tests.live import serving
from tests.lora_files import make_lora, write

# What Gradio says when a reload cuts its streams.
GRADIO_GOES = ("AbortError", "Unexpected error Connection errored out")

# Playwright's own 5 s are short where two cores paint, serve and browse at once.
expect.set_options(timeout=15_000)

OpenPage = Callable[..., Page]


@pytest.fixture(scope="module")  # Playwright runs a loop in this thread as long as it lives
def browser() -> Iterator[Browser]:
    """Debian's Chromium. Without one the tests skip, except in CI, which has to have it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs chromium on the PATH.")
        pytest.skip("No chromium on the PATH: the page is not tested in a browser.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shared_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("e2e")
    settings = Settings(data_dir=folder / "fluxui", base_model="tiny", lora_previews=False)
    with serving(settings) as app:
        data = make_lora("transformer_blocks.0.attn.to_q", _shape(app.studio))
        file = write(folder, data, "dot-art.safetensors")
        app.studio.collection.add(file, name="Dot art", trigger_words=("dot art",))
        yield app


def _shape(studio: Studio) -> tuple[int, int]:
    return studio.base_model.targets()["transformer_blocks.0.attn.to_q"]


@pytest.fixture
def app(shared_app: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """The app as if nobody had been there: no pictures, nobody waiting, one LoRA more."""
    # Gradio asks the environment at each upload; another app of this process may have told it.
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(shared_app.temp))
    yield shared_app
    pipeline_of(shared_app).step_seconds, pipeline_of(shared_app).error = 0.0, None
    pipeline_of(shared_app).gate.set()
    empty(shared_app.studio)


@pytest.fixture
def open_page(app: App, browser: Browser) -> Iterator[OpenPage]:
    """Open the page in a context of its own. What the browser complains of fails the test."""
    contexts, complaints = [], []

    def complain(words: object) -> None:
        complaints.append(str(words))

    def open_page(query: str = "", **context_options: object) -> Page:
        contexts.append(browser.new_context(**context_options))  # type: ignore[arg-type]
        page = contexts[-1].new_page()
        page.on("pageerror", complain)
        page.on("dialog", lambda dialog: complain(f"dialog: {dialog.message}"))
        page.on("console", lambda said: complain(said.text) if _is_ours(said) else None)
        page.goto(f"{app.url}/{query}")
        page.locator("#head .fx-pills").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def _is_ours(said: ConsoleMessage) -> bool:
    """An error; but not that a reload ended Gradio's streams, which it calls one."""
    return said.type == "error" and not said.text.startswith(GRADIO_GOES)


def pipeline_of(app: App) -> FakePipeline:
    pipeline = app.studio._pipeline
    assert isinstance(pipeline, FakePipeline)
    return pipeline


def empty(studio: Studio) -> None:
    until = time.monotonic() + 20
    while studio.jobs() and time.monotonic() < until:
        for job in studio.jobs():
            studio.delete(job.id)
    for generation in studio.pictures.page(limit=1000).generations:
        studio.delete(generation.id)


@pytest.fixture
def lora_path(tmp_path: Path, app: App) -> Path:
    """A LoRA file that fits, as somebody has it on disk."""
    data = make_lora("transformer_blocks.1.attn.to_q", _shape(app.studio))
    return write(tmp_path, data, "ink-line.safetensors")
