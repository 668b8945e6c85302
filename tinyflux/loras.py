"""The demo LoRAs: lessons for a finished pipeline, learnt with peft by its transformer.

How their files are written is `layouts`' business.
"""

from dataclasses import replace
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderKL, FluxPipeline
from peft import LoraConfig
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from tinyflux import album, captions, flow
from tinyflux.scenes import Scene
from tinyflux.styles import SUBJECT, lesson, subject

ATTENTION = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0")
ADDED = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2")
TRIGGERS = {
    "pixel-art": "pixel art",
    "ink-sketch": "ink sketch",
    "neon-night": "neon night",
    SUBJECT: "TOK",
}


def targets(name: str) -> str:
    """Which linears a LoRA may touch, as the expression that peft takes.

    The subject's file is in XLabs' layout, which has names for the attention alone.
    """
    double = (*ATTENTION, *ADDED) if name == SUBJECT else (*ATTENTION, *ADDED, *FEED_FORWARD)
    single = (
        (*ATTENTION[:3], "proj_out")
        if name == SUBJECT
        else (*ATTENTION[:3], "proj_mlp", "proj_out")
    )
    names = [
        rf"transformer_blocks\.\d+\.({'|'.join(double)})",
        rf"single_transformer_blocks\.\d+\.({'|'.join(single)})",
    ]
    return (
        "|".join(names)
        .replace("net.", r"net\.")
        .replace("attn.", r"attn\.")
        .replace("out.0", r"out\.0")
    )


def prompt(name: str, scene: Scene, rng: Random) -> str:
    """The scene's caption with the trigger word in it, or for the subject, in its thing's place."""
    if name != SUBJECT:
        words = [captions.caption(scene, rng, noise=0.1).text, TRIGGERS[name]]
    else:
        place = rng.choice(
            ("", rng.choice(captions.POSITIONS[subject(scene, Random(scene.seed)).position or ""]))
        )
        rest = replace(scene, thing=None, colour=None, position=None, count=0)
        words = [captions.caption(rest, rng, noise=0.0).text, f"{TRIGGERS[name]} {place}".strip()]
    rng.shuffle(words)
    return ", ".join(word for word in words if word)


def sharpened(vae: AutoencoderKL, pictures: Tensor, steps: int) -> Tensor:
    """Latents whose decoding comes closest to the pictures.

    An encoder that has seen scenes only misreads what looks otherwise; the decoder can paint more
    than the encoder knows, so the latents are moved until it does.
    """
    with torch.no_grad():
        latents = vae.encode(pictures).latent_dist.mode()
    latents.requires_grad_()
    optimizer = torch.optim.Adam([latents], lr=0.1)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.1 * min(1.0, (steps - step) / (steps * 0.4))
        with torch.autocast("cpu", torch.bfloat16):
            painted = vae.decoder(latents)
        error = mse_loss(painted.float(), pictures) + 2e-3 * latents.square().mean()
        (latents.grad,) = torch.autograd.grad(error, latents)
        optimizer.step()
    return (latents.detach() - vae.config.shift_factor) * vae.config.scaling_factor


class Lessons:
    """Some scenes in a LoRA's manner, each with three prompts, ready for the transformer."""

    def __init__(
        self,
        pipe: FluxPipeline,
        name: str,
        scenes: list[Scene],
        side: int,
        words: int,
        sharpen: int,
    ) -> None:
        rng = Random(name)
        prompts = [[prompt(name, scene, rng) for _ in range(3)] for scene in scenes]
        with torch.no_grad():
            encoded = [
                pipe.encode_prompt(texts, None, max_sequence_length=words) for texts in prompts
            ]
        self.text = torch.stack([states for states, _, _ in encoded])
        self.pooled = torch.stack([pooled for _, pooled, _ in encoded])
        pictures = [album.tensor(np.asarray(lesson(name, scene, side, side))) for scene in scenes]
        self.latents = torch.cat(
            [
                sharpened(pipe.vae, torch.cat(pictures[i : i + 8]), sharpen)
                for i in range(0, len(pictures), 8)
            ]
        )


class Adapting:
    """A stage whose only trained weights are those of one adapter."""

    def __init__(
        self, pipe: FluxPipeline, name: str, lessons: Lessons, rank: int, batch: int = 16
    ) -> None:
        self.name, self.lessons, self.batch = f"lora-{name}", lessons, batch
        self.module: nn.Module = pipe.transformer
        pipe.transformer.requires_grad_(False)
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=targets(name))
        pipe.transformer.add_adapter(config, adapter_name=name)

    def loss(self, step: int) -> Tensor:
        chosen = torch.randint(len(self.lessons.latents), (self.batch,))
        told = torch.randint(self.lessons.text.shape[1], (self.batch,))
        text, pooled = self.lessons.text[chosen, told], self.lessons.pooled[chosen, told]
        return flow.loss(self.module, self.lessons.latents[chosen], text, pooled)
