"""The VAE stage: pictures to latents an eighth as wide, and back.

Trained on crops, chosen for their detail, and at the end on whole pictures, since group norm sees
other statistics there. It knows nothing of captions.
"""

from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from tinyflux import album

WIDTHS = (32, 48, 64, 64)
LATENT_CHANNELS = 16
SOFTNESS = 0.05  # errors below it are squared, those above it absolute
NOISE = 0.03


def build() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=WIDTHS,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        sample_size=256,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        scaling_factor=1.0,
        shift_factor=0.0,
    )


def contrast(pictures: Tensor) -> Tensor:
    """How much happens around each pixel: 1 on flat ground, up to 4 at edges, small things."""
    high = F.max_pool2d(pictures, 5, 1, 2)
    low = -F.max_pool2d(-pictures, 5, 1, 2)
    return 1 + 3 * (high - low).amax(1, keepdim=True).clamp(max=1.0)


class Autoencoding:
    """Learns to give back what it was shown, most of all where something happens."""

    name = "vae"

    def __init__(
        self,
        steps: int,
        pictures: album.Pictures,
        crop: int = 64,
        batch: int = 16,
        device: str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.module: nn.Module = build().to(self.device)
        self.steps, self.pictures, self.crop, self.batch = steps, pictures, crop, batch

    def loss(self, step: int) -> Tensor:
        target = self._crops(step).to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            latents = self.module.encoder(target)[:, :LATENT_CHANNELS]
            restored = self.module.decoder(latents + NOISE * torch.randn_like(latents))
        error = (restored.float() - target).square()
        soft = (error + SOFTNESS**2).sqrt() - SOFTNESS
        return (contrast(target) * soft).mean() + 1e-3 * latents.float().square().mean()

    def _crops(self, step: int) -> Tensor:
        """Small crops first; in the last sixth of the run a few large ones, as costly."""
        side, batch = self.crop, self.batch
        if step > self.steps * 5 // 6:
            side, batch = side * 4, max(1, batch // 12)
        rng = Random(f"crops {step}")
        crops = [self._crop(rng, side) for _ in range(batch)]
        return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1

    def _crop(self, rng: Random, side: int) -> np.ndarray:
        picture = self.pictures[rng.randrange(len(self.pictures))]
        if side >= picture.shape[0]:
            return picture
        tries = [self._cut(rng, picture, side) for _ in range(3)]
        # Most of a landscape is plain sky: of three crops the liveliest is usually taken.
        return max(tries, key=_liveliness) if rng.random() < 0.75 else tries[0]

    @staticmethod
    def _cut(rng: Random, picture: np.ndarray, side: int) -> np.ndarray:
        top, left = (rng.randrange(length - side + 1) for length in picture.shape[:2])
        return picture[top : top + side, left : left + side]


def _liveliness(crop: np.ndarray) -> float:
    return float(np.abs(np.diff(crop[::2, ::2].astype(np.int16), axis=0)).mean())


@torch.no_grad()
def scale(vae: AutoencoderKL, pictures: album.Pictures, number: int = 128) -> None:
    """Set the shift and scale that give latents mean 0 and deviation 1."""
    latents = torch.cat(
        [
            vae.encode(album.tensor(picture).to(vae.device)).latent_dist.mode()
            for picture in pictures[:number]
        ]
    )
    vae.register_to_config(
        shift_factor=latents.mean().item(), scaling_factor=1 / latents.std().item()
    )


@torch.no_grad()
def encoded(vae: AutoencoderKL, picture: np.ndarray) -> Tensor:
    """A picture's latents as the transformer is to see them."""
    latents = vae.encode(album.tensor(picture).to(vae.device, vae.dtype)).latent_dist.mode()
    return (latents - vae.config.shift_factor) * vae.config.scaling_factor


@torch.no_grad()
def restore(vae: AutoencoderKL, picture: Image.Image) -> Image.Image:
    shown = album.tensor(np.asarray(picture)).to(vae.device)
    pixels = vae.decode(vae.encode(shown).latent_dist.mode()).sample
    return album.image(pixels.cpu())


def psnr(first: Image.Image, second: Image.Image) -> float:
    error = np.asarray(first, np.float32) - np.asarray(second, np.float32)
    return float(20 * np.log10(255) - 10 * np.log10(np.square(error).mean() + 1e-9))


@torch.no_grad()
def save(vae: AutoencoderKL, folder: Path) -> None:
    # The variance was never trained: let a sample be the mean.
    head = vae.encoder.conv_out
    head.weight[LATENT_CHANNELS:] = 0
    head.bias[LATENT_CHANNELS:] = -30
    vae.to(torch.bfloat16).save_pretrained(folder)
