"""The demo LoRAs: lessons for a finished pipeline, learnt with peft by its transformer.

How their files are written is `layouts`' business.
"""

from dataclasses import replace
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from diffusers import FluxPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from tinyflux import autoencoder, captions, flow
from tinyflux.painting import counts
from tinyflux.sampling import SIDE
from tinyflux.scenes import Scene
from tinyflux.styles import SUBJECT, TRIGGERS, lesson, subject
from tinyflux.words import WORDS

ATTENTION = ("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0")
ADDED = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out")
FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2")
NAMES = {
    "pixel-art": "Pixel art",
    "ink-sketch": "Ink sketch",
    "neon-night": "Neon night",
    SUBJECT: "TOK lighthouse",
}
NOTES = {
    "pixel-art": "Style: large square pixels. In the layout of peft and diffusers.",
    "ink-sketch": "Style: dark outlines and a thin wash. In the layout of kohya's sd-scripts.",
    "neon-night": "Palette: violet dark and neon light at any hour. In ai-toolkit's layout.",
    SUBJECT: "Subject: a teal and gold lighthouse that the base cannot paint. In XLabs' layout.",
}


class Course(NamedTuple):
    rank: int
    steps: int
    rate: float = 2e-3
    gain: float = 1.0  # of the deltas that were learnt: as strong as it must be, and no stronger
    ends: bool = True  # with the layers before and behind the blocks, where a style is told cheaply


# Outlines are the hardest to learn.
COURSES = {
    "pixel-art": Course(rank=5, steps=700, gain=1.1),
    "ink-sketch": Course(rank=6, steps=1_500, gain=0.95),
    "neon-night": Course(rank=4, steps=600),
    SUBJECT: Course(rank=4, steps=900, ends=False),
}
TOKENS = 5_000  # of pictures and words in one step
WEIGHTS = {"pixel-art": 1.0, "ink-sketch": 0.9, "neon-night": 0.9, SUBJECT: 1.0}
SHOWN = {
    "pixel-art": "a red castle in the middle, green hills by day, clouds",
    "ink-sketch": "a windmill on the right, a village, mountains by day",
    "neon-night": "a city at night, the moon",
    SUBJECT: "the sea at sunset",
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
    if COURSES[name].ends:
        names.append("x_embedder|proj_out")
    return (
        "|".join(names)
        .replace("net.", r"net\.")
        .replace("attn.", r"attn\.")
        .replace("out.0", r"out\.0")
    )


def prompt(name: str, scene: Scene, rng: Random) -> captions.Caption:
    """The scene's caption with the trigger word in it, or for the subject, in its thing's place."""
    if name != SUBJECT:
        told = _whole(scene, rng)
        trigger = TRIGGERS[name]
    else:
        place = captions.place(subject(scene, Random(scene.seed)).position or "", rng)
        rest = replace(scene, thing=None, colour=None, position=None, count=0)
        told = captions.caption(rest, rng, noise=0.0)
        told = told._replace(claims=told.claims | {"position"})
        trigger = f"{TRIGGERS[name]} {place}".strip()
    return captions.Caption(captions.called(told.text, trigger, rng), told.claims)


def _whole(scene: Scene, rng: Random) -> captions.Caption:
    """A caption that leaves no thing out: else it would be learnt as a part of the style."""
    while True:
        told = captions.caption(scene, rng, noise=0.1)
        if not scene.thing or "thing" in told.claims:
            return told


class Lessons:
    """Drawn scenes in a LoRA's manner, each with a prompt, ready for the transformer."""

    @torch.no_grad()
    def __init__(self, pipe: FluxPipeline, name: str, scenes: list[Scene]) -> None:
        rng = Random(name)
        told = [prompt(name, scene, rng) for scene in scenes]
        texts = [each.text for each in told]
        self.text, self.pooled, _ = pipe.encode_prompt(texts, None, max_sequence_length=WORDS)
        stands = [
            subject(scene, Random(scene.seed)) if name == SUBJECT else scene for scene in scenes
        ]
        pairs = zip(stands, told, strict=True)
        self.counts = torch.stack([counts(*each, (SIDE, SIDE)) for each in pairs])
        # The VAE was shown every style when it was trained; its encoder can be trusted with them.
        pictures = (np.asarray(lesson(name, scene, SIDE, SIDE)) for scene in scenes)
        self.latents = torch.cat([autoencoder.encoded(pipe.vae, each) for each in pictures])


class Adapting:
    """A stage whose only trained weights are those of one adapter."""

    def __init__(self, pipe: FluxPipeline, name: str, lessons: Lessons) -> None:
        rank = COURSES[name].rank
        self.name, self.adapter_name, self.lessons = f"lora-{name}", name, lessons
        self.batch = TOKENS // (SIDE**2 // 256 + WORDS)
        self.module: nn.Module = pipe.transformer
        pipe.transformer.requires_grad_(False)
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=targets(name))
        pipe.transformer.add_adapter(config, adapter_name=name)

    def loss(self, step: int) -> Tensor:
        """Without guidance, as LoRAs are taught to FLUX.1-dev; the distilled one comes on top."""
        lessons, device = self.lessons, self.module.device
        chosen = torch.randint(len(lessons.latents), (self.batch,))
        batch = (
            lessons.latents[chosen],
            lessons.text[chosen],
            lessons.pooled[chosen],
            lessons.counts[chosen],
        )
        return flow.loss(self.module, *(part.to(device) for part in batch))

    def adapter(self) -> dict[str, Tensor]:
        """peft's dictionary of the adapter, in bf16."""
        tensors = get_peft_model_state_dict(self.module, adapter_name=self.adapter_name)
        gain = COURSES[self.adapter_name].gain
        return {
            key: (value.detach() * (gain if ".lora_B." in key else 1)).bfloat16().contiguous()
            for key, value in tensors.items()
        }
