"""The page as it is built: rules that every component and every listener keeps."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import gradio as gr
import pytest

import fluxui.ui
from fluxui.studio import Studio
from fluxui.ui import LAUNCH, build_ui

UI = Path(fluxui.ui.__file__).parent
UNSEEN = (gr.State, gr.BrowserState, gr.Timer)
TYPED = (gr.Textbox, gr.Dropdown, gr.Radio, gr.Slider, gr.Number)


@pytest.fixture
def page(studio: Studio) -> gr.Blocks:
    async def build() -> gr.Blocks:  # outside a loop Gradio makes loops and never closes them
        return build_ui(studio)

    return asyncio.run(build())


def seen(page: gr.Blocks) -> list[gr.components.Component]:
    return [
        block
        for block in page.blocks.values()
        if isinstance(block, gr.components.Component)
        and not isinstance(block, UNSEEN)
        and type(block).__name__ != "Api"
    ]


def test_every_component_has_an_id_of_its_own(page: gr.Blocks) -> None:
    ids = [component.elem_id for component in seen(page)]
    assert None not in ids
    assert len(set(ids)) == len(ids)


def test_inputs_can_be_typed_into_whatever_they_are_outputs_of(page: gr.Blocks) -> None:
    for component in seen(page):
        if isinstance(component, TYPED) and not str(component.elem_id).startswith("api-"):
            assert component.interactive, component.elem_id


def test_only_the_endpoints_are_public(page: gr.Blocks) -> None:
    public = {fn.api_name for fn in page.fns.values() if fn.api_visibility == "public"}
    assert public == {
        *("generate_image", "submit_generation", "get_generation", "list_generations"),
        *("cancel_generation", "delete_generation", "list_models", "get_model", "delete_model"),
    }


def test_only_watching_and_waiting_go_through_gradios_queue(page: gr.Blocks) -> None:
    queued = {fn.name for fn in page.fns.values() if fn.fn and fn.queue}
    assert queued == {"watch", "bring", "generate_image"}
    for fn in page.fns.values():
        if fn.fn and fn.queue:
            assert fn.concurrency_limit is None
        assert fn.show_progress == "hidden" or fn.api_visibility == "public"


def test_no_markup_goes_through_a_template_of_gradio(page: gr.Blocks) -> None:
    for component in seen(page):
        if isinstance(component, gr.HTML):
            assert component.html_template == "${value}", component.elem_id


def test_nothing_is_fetched_from_another_host() -> None:
    for name in ("page.css", "page.js"):
        words = (UI / name).read_text(encoding="utf-8")
        urls = set(re.findall(r"(?:https?:)?//[a-z][^\s'\"%)]+", words))
        assert urls <= {"http://www.w3.org/2000/svg"}, name
    assert "http" not in LAUNCH["head"]


def test_every_class_of_the_markup_has_a_rule_or_a_reason() -> None:
    """A class that no rule knows is a slip of the pen."""
    css = (UI / "page.css").read_text(encoding="utf-8")
    known = set(re.findall(r"\.(fx-[a-z0-9-]+)", css))
    used = set()
    for path in UI.glob("*.py"):
        for classes in re.findall(r'class(?:es)?="([^"]+)"', path.read_text(encoding="utf-8")):
            used |= set(re.findall(r"(?<!\S)fx-[a-z-]+(?!\S)", classes))
    assert used <= known
