"""Flow matching on packed latents, as FluxPipeline will sample: the loss, the tokens' layout.

It knows nothing of pictures or words: latents and text states come in as tensors.
"""

import math

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

SHIFT = 3.0  # of the sampler's noise levels: more of its steps where a scene is decided
FEW_TOKENS = 64  # of 128×128 pixels
FAST = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)


def pack(latents: Tensor) -> Tensor:
    """Batch × channels × height × width to batch × tokens × 4 channels: a token is a 2×2 patch."""
    batch, channels, height, width = latents.shape
    patches = latents.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(batch, height // 2 * (width // 2), channels * 4)


def places(height: int, width: int, device: torch.device) -> Tensor:
    """The row and column of each token of latents of this size."""
    rows, columns = torch.meshgrid(
        torch.arange(height // 2), torch.arange(width // 2), indexing="ij"
    )
    grid = torch.stack([torch.zeros_like(rows), rows, columns], dim=-1)
    return grid.reshape(-1, 3).float().to(device)


def noise_levels(batch: int, tokens: int, device: torch.device) -> Tensor:
    """More of the noisy end, where a scene is decided, and the more so the larger the picture:
    many tokens show through more noise (Esser et al. 2024, section 5.3.2)."""
    sigma = torch.sigmoid(1.2 * torch.randn(batch, device=device) + 0.5)
    shift = math.sqrt(tokens / FEW_TOKENS)
    return shift * sigma / (1 + (shift - 1) * sigma)


def sampled(time: Tensor) -> Tensor:
    """The noise level that the pipeline's sampler has at a time from 1, all noise, to 0."""
    return SHIFT * time / (1 + (SHIFT - 1) * time)


def velocity(
    transformer: FluxTransformer2DModel,
    noisy: Tensor,
    sigma: Tensor,
    text: Tensor,
    pooled: Tensor,
    guidance: Tensor,
    size: tuple[int, int],
) -> Tensor:
    dtype = transformer.dtype
    # The backward pass of the fused attention is slow on a CPU: plain products are twice as fast.
    kernels = [SDPBackend.MATH] if noisy.device.type == "cpu" else list(FAST)
    with sdpa_kernel(kernels):
        return transformer(
            hidden_states=noisy.to(dtype),
            encoder_hidden_states=text.to(dtype),
            pooled_projections=pooled.to(dtype),
            timestep=sigma.to(dtype),
            guidance=guidance.to(dtype),
            img_ids=places(*size, noisy.device),
            txt_ids=torch.zeros(text.shape[1], 3, device=noisy.device),
            return_dict=False,
        )[0]


def loss(
    transformer: FluxTransformer2DModel,
    latents: Tensor,
    text: Tensor,
    pooled: Tensor,
    counts: Tensor,
) -> Tensor:
    """How far it strays, without guidance, from the straight way between noise and the latents.

    `counts`, batch × tokens, is how much each token counts."""
    clean = pack(latents)
    sigma = noise_levels(len(clean), clean.shape[1], clean.device)
    noise = torch.randn_like(clean)
    noisy = clean + sigma[:, None, None] * (noise - clean)
    size = latents.shape[2], latents.shape[3]
    guess = velocity(transformer, noisy, sigma, text, pooled, torch.ones_like(sigma), size)
    return strayed(guess, noise - clean, counts)


def strayed(guess: Tensor, target: Tensor, counts: Tensor) -> Tensor:
    return (counts[..., None] * (guess.float() - target).square()).mean()
