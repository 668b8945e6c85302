from __future__ import annotations

import json
import time

import pytest

from fluxui.errors import InvalidRequest
from fluxui.parameters import MAX_TEXT, Named, read

FORGE = """a castle, <lora:pixel-art:0.8> at night<lora:ink:1>
second line
Negative prompt: ugly,
blurry
Steps: 20, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 3.5, \
Seed: 123456, Size: 896x1152, Model hash: 4610115bb0, Model: flux1-dev-bnb, \
Lora hashes: "pixel-art: 1a2b3c4d5e6f, ink: e3b0c44298fc", Version: f2.0.1, Hires upscale: 2"""

GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {"seed": ["9", 0], "steps": 25, "cfg": 1.0}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
    "9": {"class_type": "RandomNoise", "inputs": {"noise_seed": 77}},
    "10": {"class_type": "FluxGuidance", "inputs": {"guidance": 4.0}},
    "11": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 768, "height": 512}},
    "12": {"inputs": {"lora_name": "sub/ink.safetensors", "strength_model": 0.6}},
    "13": "not a node",
}


def test_the_text_of_forge() -> None:
    recipe = read({"parameters": FORGE})
    assert recipe.values == {
        "prompt": "a castle,  at night\nsecond line",
        "num_inference_steps": 20,
        "guidance_scale": 3.5,
        "seed": 123456,
        "width": 896,
        "height": 1152,
    }
    assert recipe.loras == [Named("pixel-art", 0.8, "1a2b3c4d5e6f"), Named("ink", 1.0)]
    assert recipe.base_model == "flux1-dev-bnb"
    assert recipe.missed == ["the negative prompt, which FLUX has none of", "Hires upscale"]


def test_the_graph_of_comfyui() -> None:
    recipe = read({"prompt": json.dumps(GRAPH), "workflow": "{}"})
    assert recipe.values == {
        "prompt": "a lighthouse",
        "num_inference_steps": 25,
        "guidance_scale": 4.0,
        "seed": 77,
        "width": 768,
        "height": 512,
    }
    assert recipe.loras == [Named("sub/ink", 0.6)] and recipe.source == "ComfyUI"


def test_arguments_of_diffusers() -> None:
    told = {"prompt": "a boat", "num_inference_steps": 28, "guidance_scale": 3.0, "seed": 2**64 - 1}
    recipe = read({"parameters": json.dumps(told)})
    assert (recipe.source, recipe.values) == ("diffusers", told)


def test_ours_come_before_all_others() -> None:
    ours = {
        "prompt": "ours",
        "base_model": "tiny",
        "loras": [{"model_id": "ink", "weight": 0.5, "sha256": "ab" * 32}],
    }
    recipe = read({"parameters": FORGE, "fluxui": json.dumps(ours)})
    assert recipe.values == {"prompt": "ours"} and recipe.source == "fluxui"
    assert recipe.loras == [Named("ink", 0.5, "ab" * 32)]


@pytest.mark.parametrize(
    "text",
    [
        '{"prompt": "a", "seed": -1, "width": 1e400, "height": "x", "steps": [], "guidance": NaN}',
        '{"prompt": "a", "seed": 1.5, "width": 0, "height": null, "num_inference_steps": "1e9"}',
        "a\nSteps: 0, Seed: 99999999999999999999999999, CFG scale: nan, Size: axb",
        "a<lora:x:--1>\nSteps: 999999999",
    ],
)
def test_a_value_that_makes_no_sense_is_left_out_and_named(text: str) -> None:
    recipe = read({"parameters": text})
    assert recipe.values == {"prompt": "a"} and recipe.missed


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"parameters": ""},
        {"parameters": "just words"},
        {"parameters": "Steps: 20, Seed: 1"},
        {"parameters": '{"prompt": ""}'},
        {"parameters": "[" * 50_000},
        {"parameters": '{"prompt": "' + "x" * 3000 + '"}'},
        {"fluxui": "[]", "prompt": "[1]"},
        {"fluxui": '{"prompt": 1}'},
        {"prompt": '{"1": {"inputs": {"text": ["2", 0]}}}'},
        {"parameters": "x" * (MAX_TEXT + 1)},
        {"parameters": "a\nSteps: 1, " + "x" * 100_000},
    ],
)
def test_what_says_nothing_is_refused_soon(texts: dict[str, str]) -> None:
    begin = time.perf_counter()
    with pytest.raises(InvalidRequest):
        read(texts)
    assert time.perf_counter() - begin < 2


def test_hostile_text_is_only_text() -> None:
    words = "<img src=x onerror=alert(1)> ${alert(1)} {{value}} '; DROP TABLE --"
    assert read({"parameters": f"{words}\nSteps: 2"}).values["prompt"] == words
