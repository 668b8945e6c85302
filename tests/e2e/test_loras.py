from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from fluxui.errors import LoraNotFound
from fluxui.server import App
from tests.e2e.conftest import OpenPage
from tests.e2e.steps import act, open_tab, paint
from tests.loras.fake_hub import serving_hub

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),  # in Gradio's statistics
]


def test_import_edit_use_and_delete(open_page: OpenPage, app: App, lora_path: Path) -> None:
    page = open_page()
    open_tab(page, "LoRAs")
    expect(page.locator("#l-cards")).to_contain_text("Dot art")
    bring(page, lora_path)
    expect(page.locator("#l-fit")).to_contain_text("Fits tiny")
    page.get_by_label("Trigger words").fill("ink, thin lines")
    page.get_by_label("Trigger words").blur()
    expect(page.locator("#toast")).to_contain_text("Saved")
    assert app.studio.collection.get("ink-line").trigger_words == ("ink", "thin lines")
    page.get_by_label("Notes").fill("Twenty pages of a sketchbook.")
    with page.expect_response("**/gradio_api/run/**"):
        page.get_by_label("Notes").blur()
    assert app.studio.collection.get("ink-line").notes == "Twenty pages of a sketchbook."

    act(page, "#l-nav", "with")
    expect(page.locator("#lora-1-head")).to_contain_text("adds “ink, thin lines”")
    paint(page, "a harbour")
    assert app.studio.pictures.page().generations[0].painted == "ink, thin lines, a harbour"

    open_tab(page, "LoRAs")
    expect(page.locator("#l-made .fx-thumb")).to_have_count(1)
    act(page, "#l-nav", "remove")
    expect(page.locator("#l-notice")).to_contain_text("Its picture stays")
    expect(page.locator("#l-cards")).not_to_contain_text("ink-line")
    with pytest.raises(LoraNotFound):
        app.studio.collection.get("ink-line")
    open_tab(page, "Generate")
    expect(page.locator("#lora-1")).to_be_hidden()


def bring(page: Page, file: Path) -> None:
    """Open the panel, and upload a file there."""
    page.locator("#l-import").click()
    page.get_by_text("Upload a file").click()
    page.locator("#l-import-panel input[type=file]").set_input_files(file)


def test_deleting_is_undone_on_the_page(open_page: OpenPage, app: App, lora_path: Path) -> None:
    app.studio.collection.add(lora_path, "ink-line")
    page = open_page("?tab=loras")
    page.locator("[data-act=lora][data-id=ink-line]").click()
    act(page, "#l-nav", "remove")
    act(page, "#l-notice", "undo")
    expect(page.locator("#l-cards")).to_contain_text("ink-line")
    assert app.studio.collection.get("ink-line").fit.fits


def test_from_the_hub_checked_first(
    open_page: OpenPage, app: App, lora_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving_hub(monkeypatch) as hub:
        data = lora_path.read_bytes()
        hub.files |= {"one.safetensors": data, "two.safetensors": data}
        page = open_page("?tab=loras")
        page.locator("#l-import").click()
        page.get_by_label("Repository").fill("owner/name")
        page.locator("#l-check").click()
        expect(page.locator("#l-check-result")).to_contain_text("one.safetensors, two.safetensors")
        page.get_by_label("File", exact=True).fill("two.safetensors")
        page.locator("#l-check").click()
        expect(page.locator("#l-check-result")).to_contain_text("Fits tiny")
        act(page, "#l-check-result", "bring")
        expect(page.locator("#l-fit")).to_contain_text("owner/name · two.safetensors")
    assert app.studio.collection.get("two").origin["filename"] == "two.safetensors"


def test_what_is_dropped_into_the_folder_appears(
    open_page: OpenPage, app: App, lora_path: Path
) -> None:
    page = open_page("?tab=loras")
    expect(page.locator("#l-watch")).to_contain_text("Watching models/")
    target = app.studio.settings.data_dir / "models" / "dropped.safetensors"
    target.write_bytes(lora_path.read_bytes())
    expect(page.locator("#l-cards [data-id=dropped]")).to_contain_text("new")


def test_a_file_that_is_none_is_refused_in_words(
    open_page: OpenPage, app: App, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"this is no LoRA")
    page = open_page("?tab=loras")
    bring(page, broken)
    expect(page.locator("#l-notice [role=alert]")).to_be_visible()
    assert "broken" not in [lora.model_id for lora in app.studio.collection.all()]


def test_search_by_name_and_trigger_word(open_page: OpenPage) -> None:
    page = open_page("?tab=loras")
    expect(page.locator("#l-cards")).to_contain_text("Dot art")
    page.locator("#l-search textarea, #l-search input").fill("nothing like it")
    expect(page.locator("#l-cards")).to_contain_text("No LoRA matches")
    page.locator("#l-search textarea, #l-search input").fill("DOT A")
    expect(page.locator("#l-cards .fx-card")).to_have_count(1)
