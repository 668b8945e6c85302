from __future__ import annotations

import math

import pytest

from fluxui.errors import InvalidRequest
from fluxui.request import MAX_SEED, GenerationForm, Limits, invalid_request

LIMITS = Limits(
    size_step=16,
    min_size=64,
    max_size=512,
    max_pixels=128 * 512,
    max_steps=50,
    max_guidance=10,
    width=128,
    height=128,
    steps=12,
    guidance=3.5,
)


def test_only_the_prompt_is_needed() -> None:
    request = GenerationForm.parse({"prompt": "  a house "}).admit(LIMITS, draw=lambda: 7)
    assert request.prompt == "a house"
    assert (request.width, request.height, request.num_inference_steps) == (128, 128, 12)
    assert (request.guidance_scale, request.num_images, request.seed) == (3.5, 1, 7)
    assert request.loras == ()


def test_a_drawn_seed_differs_from_request_to_request() -> None:
    form = GenerationForm.parse({"prompt": "a"})
    assert form.admit(LIMITS).seed != form.admit(LIMITS).seed


def test_zero_is_a_value_and_not_a_gap() -> None:
    form = GenerationForm.parse({"prompt": "a", "seed": 0, "guidance_scale": 0})
    request = form.admit(LIMITS)
    assert (request.seed, request.guidance_scale) == (0, 0)


def test_model_id_is_short_for_one_lora() -> None:
    short = GenerationForm.parse({"prompt": "a", "model_id": "pixel-art", "lora_weight": 1.2})
    (lora,) = short.admit(LIMITS).loras
    assert (lora.model_id, lora.weight) == ("pixel-art", 1.2)


@pytest.mark.parametrize("nothing", [None, "", " ", "None"])
def test_no_model_id_is_no_lora(nothing: str | None) -> None:
    assert GenerationForm.parse({"prompt": "a", "model_id": nothing}).admit(LIMITS).loras == ()


def test_image_k_has_seed_plus_k_and_wraps() -> None:
    form = GenerationForm.parse({"prompt": "a", "num_images": 3, "seed": MAX_SEED - 1})
    assert form.admit(LIMITS).seeds() == [MAX_SEED - 1, MAX_SEED, 0]


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({}, "prompt is missing"),
        ({"prompt": "  "}, "prompt is empty"),
        ({"prompt": "x" * 2001}, "prompt is longer than 2000"),
        ({"prompt": "\ud800"}, "prompt should be a valid string"),
        ({"prompt": "a", "loras": ["pixel-art"]}, "loras.0 should be a JSON object"),
        ({"prompt": ["a"]}, "prompt should be a valid string"),
        ({"prompt": "a", "num_images": 5}, "num_images should be less than or equal to 4"),
        ({"prompt": "a", "num_images": 0}, "num_images should be greater"),
        ({"prompt": "a", "seed": 2**64}, "seed should be less"),
        ({"prompt": "a", "seed": -1}, "seed should be greater"),
        ({"prompt": "a", "lora_weight": math.nan}, "lora_weight should be a finite number"),
        ({"prompt": "a", "lora_weight": 2.1}, "lora_weight should be less"),
        ({"prompt": "a", "lora_weight": -0.1}, "lora_weight should be greater"),
        ({"prompt": "a", "guidance_scale": math.inf}, "guidance_scale should be a finite"),
        ({"prompt": "a", "guidence_scale": 3}, "guidence_scale is not a known field"),
        ({"prompt": "a", "num_inference_steps": 2.5}, "num_inference_steps should be a valid"),
        ({"prompt": "a", "loras": [{"model_id": ""}]}, "loras.0.model_id is empty"),
        (
            {"prompt": "a", "loras": [{"model_id": str(i)} for i in range(5)]},
            "loras has more than 4",
        ),
    ],
)
def test_a_form_refuses_what_no_base_model_takes(values: dict[str, object], word: str) -> None:
    with pytest.raises(InvalidRequest, match=word):
        GenerationForm.parse(values)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"num_inference_steps": 0}, "num_inference_steps should be between 1 and 50"),
        ({"num_inference_steps": -3}, "num_inference_steps"),
        ({"num_inference_steps": 51}, "num_inference_steps"),
        ({"guidance_scale": 10.5}, "guidance_scale should be between 0 and 10"),
        ({"width": 130}, "width should be a multiple of 16 between 64 and 512"),
        ({"height": 48}, "height should be a multiple"),
        ({"width": 528}, "width should be a multiple"),
        ({"width": 512, "height": 512}, "at most 65,536 pixels"),
        ({"loras": [{"model_id": "a"}, {"model_id": "a"}]}, "Each LoRA can be used once"),
        ({"model_id": "a", "loras": [{"model_id": "b"}]}, "either model_id or loras"),
    ],
)
def test_admission_refuses_what_this_base_model_does_not_take(
    values: dict[str, object], word: str
) -> None:
    form = GenerationForm.parse({"prompt": "a", **values})
    with pytest.raises(InvalidRequest, match=word):
        form.admit(LIMITS)


def test_every_complaint_is_told_at_once_and_no_value_is_echoed() -> None:
    with pytest.raises(InvalidRequest) as caught:
        GenerationForm.parse({"prompt": "", "num_images": "<script>"})
    assert "prompt is empty. num_images should be a valid integer" in caught.value.message
    assert "<script>" not in caught.value.message
    assert caught.value.as_dict()["hint"]


def test_a_body_that_is_not_json_is_named_so() -> None:
    errors = [{"loc": ("body", 3), "type": "json_invalid", "msg": "JSON decode error"}]
    assert invalid_request(errors).message == "The body is not valid JSON."
