"""Pictures from a pipeline, as fluxui would paint them, but by diffusers alone.

What is measured and shown here must not rest on the code that it is a test of.
"""

import torch
from diffusers import FluxPipeline
from PIL import Image
from torch import Tensor

from tinyflux.words import WORDS

STEPS, GUIDANCE, SIDE = 8, 3.5, 256
BATCH = 10


def paint(
    pipe: FluxPipeline,
    prompts: list[str],
    *,
    seed: int = 0,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
    size: tuple[int, int] = (SIDE, SIDE),
) -> list[Image.Image]:
    """One picture a prompt, each of its own seed from `seed` on, in batches for a small machine."""
    pictures: list[Image.Image] = []
    for first in range(0, len(prompts), BATCH):
        batch = prompts[first : first + BATCH]
        seeds = [torch.Generator().manual_seed(seed + first + k) for k in range(len(batch))]
        pictures += pipe(
            batch, width=size[0], height=size[1], num_inference_steps=steps,
            guidance_scale=guidance, max_sequence_length=WORDS, generator=seeds,
        ).images  # fmt: skip
    return pictures


def add(pipe: FluxPipeline, adapter: dict[str, Tensor], weight: float) -> None:
    """Add an adapter's deltas, in peft's names, to the transformer's weights in place."""
    for module in {key.rsplit(".lora_", 1)[0] for key in adapter}:
        down, up = (adapter[f"{module}.lora_{side}.weight"].float() for side in "AB")
        pipe.transformer.get_submodule(module).weight.data += weight * (up @ down)
