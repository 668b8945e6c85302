"""Previews: colours that the autoencoder has, small, and not too often."""

from __future__ import annotations

from io import BytesIO

import pytest
import torch
from PIL import Image

from fluxui.pipeline.flux import FluxPipeline
from fluxui.pipeline.preview import Previewer, fit_previewer

IDENTITY = torch.cat([torch.eye(3), torch.zeros(1, 3)])


def test_a_preview_is_at_most_256_pixels_and_4_a_latent() -> None:
    previewer = Previewer(IDENTITY)
    for (height, width), longest, size in (
        ((16, 16), 128, (64, 64)),
        ((16, 16), 48, (48, 48)),
        ((128, 128), 1024, (256, 256)),
        ((64, 256), 2048, (256, 64)),
    ):
        with Image.open(BytesIO(previewer.jpeg(torch.rand(3, height, width), longest))) as image:
            assert (image.format, image.size) == ("JPEG", size)


def test_colours_stay_in_range() -> None:
    colours = Previewer(IDENTITY).colours(torch.randn(3, 8, 8) * 100)
    assert (float(colours.min()), float(colours.max())) == (0.0, 1.0)


def test_at_most_four_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("fluxui.pipeline.preview.time.monotonic", lambda: now)
    previewer = Previewer(IDENTITY)
    shown = 0
    for _ in range(101):
        shown += previewer.due()
        now += 0.01
    assert shown == 5  # at 0, 0.25, 0.5, 0.75 and 1 second


def test_colours_are_told_apart(loaded: FluxPipeline) -> None:
    vae = loaded._ready.pipe.vae
    previewer = fit_previewer(vae, torch.device("cpu"))
    colours = torch.tensor([[0.9, 0.5, 0.2], [0.2, 0.3, 0.7], [0.1, 0.1, 0.15]])
    for own, colour in enumerate(colours):
        picture = colour.view(1, 3, 1, 1).expand(1, 3, 64, 64) * 2 - 1
        with torch.no_grad():
            latents = vae.encode(picture).latent_dist.mode()
        latents = (latents - vae.config.shift_factor) * vae.config.scaling_factor
        shown = previewer.colours(latents[0]).mean((0, 1))
        assert int((colours - shown).norm(dim=1).argmin()) == own
