from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr
import pytest

from fluxui.history import Query
from fluxui.studio import Studio
from fluxui.ui import html, wall
from fluxui.ui.filters import ME, Filters, asked
from fluxui.visitor import Visitor
from tests.conftest import paint


def test_what_the_fields_ask_for() -> None:
    found = asked("a boat seed:7 tag:sea", "ab" * 32, "flux1-dev", ME, "", "96x64", "oldest")
    assert found == Query(
        words="a boat", lora="ab" * 32, base_model="flux1-dev", visitor="", seed=7, tag="sea",
        width=96, height=64, oldest=True,
    )  # fmt: skip
    assert asked("", "never-read", visitor="hf:ada") == Query(
        model_id="never-read", visitor="hf:ada"
    )
    assert asked("", None, None, None, None, None, None) == Query()
    since = asked("", days="1").since
    assert since and (since.hour, since.minute) == (0, 0)


def test_all_as_a_zip_keeps_to_them() -> None:
    assert wall.address(Query(base_model="a b", visitor="hf:ada")) == (
        "base_model=a+b&visitor=hf%3Aada"
    )
    assert wall.address(Query(visitor="")) == "visitor="
    assert wall.address(Query()) == ""


def fields(studio: Studio, now: Query) -> dict[str, Any]:
    async def build() -> Filters:  # outside a loop Gradio makes loops and never closes them
        with gr.Blocks():
            return Filters(studio)

    found = asyncio.run(build()).refresh(now)
    return {part.elem_id: changes for part, changes in found.items()}


@pytest.fixture
def mixed(studio: Studio) -> Studio:
    """Three pictures: by two base models, of the owner and of two visitors."""
    for mark, base_model in (("", "tiny"), ("hf:ada", "flux1-dev"), ("guest:0123456789", "tiny")):
        made = paint(studio, width=128, height=128)
        changed = made.model_copy(update={"visitor": mark, "base_model": base_model})
        studio._history.replace(changed)
    return studio


def test_what_all_have_in_common_is_no_choice(studio: Studio) -> None:
    paint(studio)
    found = fields(studio, Query())
    assert not found["g-model"]["visible"] and not found["g-visitor"]["visible"]


def test_the_owner_chooses_among_everybody(mixed: Studio) -> None:
    found = fields(mixed, Query(width=32, height=96))
    assert found["g-model"]["visible"] and found["g-visitor"]["visible"]
    assert found["g-model"]["choices"] == [("Any model", ""), ("tiny",) * 2, ("flux1-dev",) * 2]
    visitors = [("you", ME), ("ada", "hf:ada"), ("guest 012345", "guest:0123456789")]
    assert found["g-visitor"]["choices"] == [("Everybody", ""), *visitors]
    sizes = [("Any size", ""), ("128 × 128", "128x128"), ("32 × 96", "32x96")]  # asked for now
    assert found["g-size"]["choices"] == sizes


def test_a_visitor_learns_of_nobody_else(mixed: Studio) -> None:
    found = fields(mixed.serving(lambda: Visitor("hf:ada")), Query())
    assert not found["g-model"]["visible"] and not found["g-visitor"]["visible"]
    assert found["g-visitor"]["choices"] == [("Everybody", ""), ("ada", "hf:ada")]
    forged = mixed.serving(lambda: Visitor("hf:ada")).pictures.gallery(Query(visitor=""))
    assert [card.generation.visitor for card in forged.cards] == ["hf:ada"]


def test_who_that_is() -> None:
    marks = ("", "key", "user:robert", "hf:ada", "guest:0123456789")
    assert [html.visitor(one) for one in marks] == ["you", "key", "robert", "ada", "guest 012345"]
