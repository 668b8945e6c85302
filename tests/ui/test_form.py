from __future__ import annotations

import asyncio
from typing import Any

import gradio as gr
import pytest

from fluxui.errors import InvalidRequest, LoraNotFound
from fluxui.request import MAX_SEED, GenerationRequest, LoraRef
from fluxui.studio import Studio
from fluxui.ui.desk import Desk
from fluxui.ui.form import Form, choice_words
from fluxui.ui.frame import Frame
from tests.ui.conftest import make_lora

NO_LORA = ["", "", "", ""]
WEIGHTS = (0.8, 0.8, 0.8, 0.8)


@pytest.fixture
def form(studio: Studio) -> Form:
    async def build() -> Form:  # outside a loop Gradio makes loops and never closes them
        with gr.Blocks():
            states = gr.State(), gr.BrowserState(), gr.BrowserState()
            frame = Frame(*states, gr.HTML(), gr.HTML(), gr.Tabs())
            return Form(studio, frame)

    return asyncio.run(build())


def read(form: Form, prompt: Any = "a boat", chosen: Any = NO_LORA, seed: Any = "") -> Any:
    return form.read((prompt, chosen, "2", seed, 12, 3.5, 128, 128, *WEIGHTS))


def test_what_the_browser_shows_is_what_is_asked_for(form: Form) -> None:
    """Not what the server remembers of the page: it may have forgotten."""
    asked = read(form, chosen=["", "pixel-art", "", "ink-sketch"], seed=f" {MAX_SEED} ")
    assert [lora.model_id for lora in asked.loras] == ["pixel-art", "ink-sketch"]
    assert (asked.num_images, asked.seed) == (2, MAX_SEED)
    assert read(form).loras == ()
    assert read(form).seed is None


@pytest.mark.parametrize("seed", ["-1", "3.5", "banana", str(MAX_SEED + 1)])
def test_a_seed_that_is_none_is_refused(form: Form, seed: str) -> None:
    with pytest.raises(InvalidRequest, match="seed"):
        read(form, seed=seed)


def test_none_is_first_and_what_does_not_fit_is_not_offered(form: Form) -> None:
    choices = form.choices()
    assert choices[0] == ("None", "")
    assert ("Pixel art", "pixel-art") in choices


def test_the_id_is_shown_where_the_name_does_not_give_it_away() -> None:
    assert choice_words(make_lora()) == "Dot art"
    assert choice_words(make_lora(model_id="me/dots")) == "Dot art · me/dots"


def test_filling_in_a_request_and_leaving_out_a_lora_that_is_gone(form: Form) -> None:
    desk = Desk()
    loras = (LoraRef(model_id="gone"), LoraRef(model_id="pixel-art", weight=0.3))
    request = GenerationRequest(
        prompt="a boat",
        loras=loras,
        num_images=3,
        num_inference_steps=7,
        guidance_scale=2.0,
        width=112,
        height=112,
        seed=9,
    )
    changes = form.fill(desk, request)
    assert desk.loras == ["pixel-art", "", "", ""]
    assert changes[form.chosen] == desk.loras
    assert changes[form.chips[0].weight]["value"] == 0.3
    assert changes[form.ratio]["value"] is None  # a size of its own
    assert (changes[form.num], changes[form.seed]) == ("3", "9")


def test_four_loras_and_no_fifth(form: Form) -> None:
    desk = Desk(loras=["a", "b", "c", "d"])
    changes = form.put(desk, "pixel-art")
    assert "4 LoRAs at most" in changes[form.frame.toast]
    with pytest.raises(LoraNotFound):
        form.put(Desk(), "no-such-lora")


def test_a_shape_sets_the_size_and_a_size_finds_its_shape(form: Form) -> None:
    wide, high = form.shapes["16:9"]
    changes = form.resize("16:9")
    assert (changes[form.width], changes[form.height]) == (wide, high)
    assert form.reshape(wide, high)["value"] == "16:9"
    assert form.reshape(wide + 16, high)["value"] is None
    assert form.reshape(None, high)["label"] == f"Shape · ? × {high}"


def test_the_forecast_says_what_is_wrong_with_a_size(form: Form) -> None:
    words = form.forecast("", NO_LORA, "1", "", 12, 3.5, 100, 128, *WEIGHTS)
    assert "width should be a multiple of 16" in words
    words = form.forecast("", NO_LORA, "1", "banana", 12, 3.5, 128, 128, *WEIGHTS)
    assert "First picture: time unknown" in words


def test_what_the_browser_kept_is_cut_to_what_this_base_model_can_do(form: Form) -> None:
    told = {"prompt": "a boat", "loras": ["pixel-art", "gone"], "weights": [0.3], "steps": 9999}
    desk, most = Desk(), form.limits.max_steps
    changes, changed = form.recall(desk, told)
    assert changes[form.steps] == most
    assert desk.loras == ["pixel-art", "", "", ""]
    assert changes[form.chips[0].weight]["value"] == 0.3
    assert changes[form.prompt] == "a boat"
    assert changed == ["without gone, which is not here", f"{most} steps, not 9999"]
