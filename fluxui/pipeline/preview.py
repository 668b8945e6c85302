"""Latents → a small picture between two steps, without the decoder.

Colour is nearly linear in the latents of a picture autoencoder, so one 16x3 matrix is enough for a
preview. It is measured once on the loaded autoencoder, so it holds for any of them.
"""

from __future__ import annotations

import io
import time
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

LONGEST = 256  # pixels
ENLARGED = 4  # times at most: there is no more to see in a latent, and a browser enlarges for free
SECONDS_BETWEEN = 0.25
_QUALITY = 80
_RIDGE = 1e-2


class Previewer:
    """The linear map of one autoencoder, and the clock that keeps previews rare."""

    def __init__(self, matrix: Tensor) -> None:
        self._matrix = matrix  # (channels + 1, 3), the last row is the constant
        self._last = 0.0

    def due(self) -> bool:
        """True at most four times a second; asking counts as showing."""
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN:
            return False
        self._last = now
        return True

    def jpeg(self, latents: Tensor, longest: int) -> bytes:
        """A JPEG whose longer side has at most `longest`, 256, and 4 pixels a latent.

        `latents`: (channels, height, width), as the transformer sees them.
        """
        image = Image.fromarray(self.colours(latents).mul(255).to(torch.uint8).cpu().numpy())
        scale = min(longest / max(image.size), LONGEST / max(image.size), ENLARGED)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        stream = io.BytesIO()
        image.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=_QUALITY)
        return stream.getvalue()

    def colours(self, latents: Tensor) -> Tensor:
        """(height, width, 3) between 0 and 1."""
        flat = latents.float().permute(1, 2, 0)
        return (flat @ self._matrix[:-1] + self._matrix[-1]).clamp(0, 1)


@torch.no_grad()
def fit_previewer(vae: Any, device: torch.device) -> Previewer:
    """Least squares over gradients that we draw: their latents, and the colours of those decoded.

    `vae` is a diffusers AutoencoderKL. The decoder's answer is the truth here, not what we drew,
    since it is the decoder whose picture we foretell.
    """
    shift, scale = vae.config.shift_factor, vae.config.scaling_factor
    drawn = _gradients().to(device, vae.dtype)
    encoded = vae.encode(drawn * 2 - 1).latent_dist.mode()
    decoded = vae.decode(encoded).sample.float().mul(0.5).add(0.5).clamp(0, 1)
    latents = ((encoded - shift) * scale).float()
    known = _rows(latents)
    known = torch.cat([known, torch.ones_like(known[:, :1])], dim=1)
    sought = _rows(functional.adaptive_avg_pool2d(decoded, latents.shape[-2:]))
    # A ridge: what our gradients never move in the latents must not be guessed at.
    ridge = _RIDGE * len(known) * torch.eye(known.shape[1], device=device)
    return Previewer(torch.linalg.solve(known.T @ known + ridge, known.T @ sought))


def _rows(pictures: Tensor) -> Tensor:
    """(count, channels, height, width) → one row a pixel."""
    return pictures.permute(0, 2, 3, 1).reshape(-1, pictures.shape[1])


def _gradients(size: int = 128) -> Tensor:
    """(16, 3, size, size): random colours from top to bottom, always the same."""
    generator = torch.Generator().manual_seed(0)
    pictures = []
    for bands in (2, 3, 4, 6):
        colours = torch.rand(4, 3, bands, 1, generator=generator)
        pictures.append(
            functional.interpolate(colours, (size, size), mode="bilinear", align_corners=True)
        )
    return torch.cat(pictures)
