"""Generations and LoRAs as the markup gets them, without a studio behind."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from fluxui.gallery import Card
from fluxui.generation import Generation, Image, LoraUse, Status
from fluxui.loras.header import Fit
from fluxui.loras.library import Lora
from fluxui.request import GenerationRequest, LoraRef

NASTY = "<img src=x onerror=alert(1)> ${alert(1)} {{value}} \"'`"


def make_generation(prompt: str = "a boat", images: int = 1, **values: Any) -> Generation:
    """A completed one with a LoRA, unless `values` say otherwise."""
    request = GenerationRequest(
        prompt=prompt,
        loras=(LoraRef(model_id="dot-art", weight=0.6),),
        num_images=max(images, 1),
        num_inference_steps=12,
        guidance_scale=3.5,
        width=128,
        height=96,
        seed=7,
    )
    use = LoraUse(
        model_id="dot-art", name="Dot art", weight=0.6, sha256="0", layers=5, layers_total=5
    )
    known: dict[str, Any] = {
        "id": "job-1",
        "request": request,
        "status": Status.completed,
        "base_model": "tiny",
        "trigger_words": ("dot art",),
        "painted": f"dot art, {prompt}",
        "loras": (use,),
        "images": tuple(make_image(index) for index in range(1, images + 1)),
        "seconds": 2.0 * images,
        "completed_at": datetime(2026, 11, 22, 15, 58, tzinfo=timezone.utc),
    }
    return Generation(**{**known, **values})


def make_image(index: int) -> Image:
    return Image(
        index=index,
        key=f"generated/image_{index}.png",
        thumb_key=f"generated/thumb_{index}.webp",
        seed=6 + index,
        width=128,
        height=96,
        bytes=1_400_000,
        sha256="0",
    )


def make_card(generation: Generation, index: int = 1) -> Card:
    url = f"api/images/{generation.id}/{index}"
    return Card(generation, generation.images[index - 1], f"{url}?thumb=1", url)


def make_lora(**values: Any) -> Lora:
    fit = Fit(
        format="diffusers",
        rank=16,
        alpha=16.0,
        base_family="flux1",
        layers=57,
        layers_total=57,
        fits=True,
        verdict="Fits tiny: 57 of 57 layers.",
    )
    known: dict[str, Any] = {
        "model_id": "dot-art",
        "name": "Dot art",
        "trigger_words": ("dot art",),
        "default_weight": 0.8,
        "notes": "",
        "built_in": False,
        "file": "models/dot-art/dot-art.safetensors",
        "size": 38_600_000,
        "sha256": "9c1e4b0a77d2" * 5 + "abcd",
        "added": datetime(2026, 11, 21, tzinfo=timezone.utc),
        "fit": fit,
    }
    return Lora(**{**known, **values})


@pytest.fixture
def generation() -> Generation:
    return make_generation()
