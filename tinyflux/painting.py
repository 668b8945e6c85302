"""The transformer stage: FLUX itself, told its prompts by the finished encoders.

It learns from latents that the finished VAE made once, told in new words at every step. Guidance is
1 throughout: what more of it does is distilled afterwards, in `guidance`.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, PreTrainedTokenizerFast, T5EncoderModel

from tinyflux import album, autoencoder, flow, words
from tinyflux.captions import Caption, caption
from tinyflux.scenes import Scene, picture, spots

# Pictures of 3:2 and 2:3 are learnt at about the area of the default, so that steps cost the same.
SIZES = ((128, 128), (192, 192), (256, 256), (320, 208), (208, 320), (384, 384))
NUMBERS = {(128, 128): 12_000, (256, 256): 8_000, (384, 384): 1_000}
# At first the cheap small pictures teach what there is; then the others teach where it goes.
EARLY = {(128, 128): 0.85, (192, 192): 0.15}
LATE = {
    (128, 128): 0.1,
    (192, 192): 0.1,
    (256, 256): 0.5,
    (320, 208): 0.12,
    (208, 320): 0.12,
    (384, 384): 0.06,
}
PATCH = 16  # pixels along the side of a token
TOKENS = 5_000  # of pictures in one step, whatever their size
UNTOLD = 0.1  # the part of pictures that come without words
SILENT = Caption("", frozenset())
THING = 6.0  # that a token of a thing counts: a tenth of the picture, and most of what was asked
# How far things reach, in their sizes: from the middle to each side, up and down from the foot.
WIDE, HIGH, LOW = 0.82, 1.3, 0.08


class Prompt(NamedTuple):
    text: Tensor
    pooled: Tensor


class Painter(nn.Module):
    """The transformer, which learns, and the encoders, which do not any more."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.clip_words = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.t5_words = PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer_2")
        self.clip = CLIPTextModel.from_pretrained(folder / "text_encoder").requires_grad_(False)
        self.t5 = T5EncoderModel.from_pretrained(folder / "text_encoder_2").requires_grad_(False)
        self.transformer = FluxTransformer2DModel(
            in_channels=64,
            num_layers=2,
            num_single_layers=4,
            attention_head_dim=32,
            num_attention_heads=8,
            joint_attention_dim=192,
            pooled_projection_dim=128,
            guidance_embeds=True,
            axes_dims_rope=(8, 12, 12),
        )

    def read(self, texts: list[str]) -> Prompt:
        device = self.transformer.device
        whole = words.ids(self.clip_words, texts, words.POOLED_WORDS).to(device)
        each = words.ids(self.t5_words, texts, words.WORDS).to(device)
        with torch.no_grad():
            return Prompt(self.t5(each)[0], self.clip(whole).pooler_output)


def latents(folder: Path, vae: AutoencoderKL, number: int, size: tuple[int, int]) -> np.ndarray:
    """The latents of the first scenes of the training seed, made now or read from disk."""
    path = folder / f"latents-{number}-{size[0]}x{size[1]}.npy"
    if not path.exists():
        scenes = album.scene_list(number, album.TRAINING)
        pictures = (np.asarray(picture(scene, *size)) for scene in scenes)
        encoded = [autoencoder.encoded(vae, each).half().cpu().numpy() for each in pictures]
        album.keep(path, np.concatenate(encoded))
    return np.load(path, mmap_mode="r")


class Lesson(NamedTuple):
    latents: Tensor
    texts: list[str]
    counts: Tensor  # batch × tokens: how much each counts


def counts(scene: Scene, told: Caption, size: tuple[int, int]) -> Tensor:
    """How much each token counts: more where a thing stands, if the words tell of one.

    If they do not, it must not: things would be learnt to stand wherever they might.
    """
    columns, rows = size[0] // PATCH, size[1] // PATCH
    counted = torch.ones(rows, columns)
    if told.claims & {"thing", "position"}:
        unit = min(columns, rows)  # tokens along the shorter side
        for x, foot, reach in spots(scene, *size):
            top, bottom = (foot - HIGH * reach) * unit, (foot + LOW * reach) * unit
            left, right = (x - WIDE * reach) * unit, (x + WIDE * reach) * unit
            counted[
                max(0, math.floor(top)) : math.ceil(bottom),
                max(0, math.floor(left)) : math.ceil(right),
            ] = THING
    return counted.flatten()


class School:
    """Hands out batches: pictures of one size, each with a caption made for the occasion."""

    def __init__(self, load: Callable[[tuple[int, int]], np.ndarray], steps: int) -> None:
        self.load, self.steps = load, steps
        self.shelves: dict[tuple[int, int], np.ndarray] = {}
        self.scenes = album.scene_list(max(NUMBERS.values()), album.TRAINING)

    def lesson(self, step: int) -> Lesson:
        rng = Random(f"lesson {step}")
        mixture = EARLY if step < self.steps * 0.6 else LATE
        size = rng.choices(list(mixture), list(mixture.values()))[0]
        if size not in self.shelves:
            self.shelves[size] = self.load(size)
        shelf = self.shelves[size]
        batch = max(4, TOKENS * 256 // (size[0] * size[1]))
        chosen = [rng.randrange(len(shelf)) for _ in range(batch)]
        scenes = [self.scenes[index] for index in chosen]
        told = [SILENT if rng.random() < UNTOLD else caption(scene, rng) for scene in scenes]
        counted = [counts(*each, size) for each in zip(scenes, told, strict=True)]
        latents = torch.from_numpy(shelf[chosen]).float()
        return Lesson(latents, [each.text for each in told], torch.stack(counted))


class Painting:
    """The stage: flow matching in bf16, whose masters the loop keeps in fp32."""

    name = "transformer"

    def __init__(self, folder: Path, school: School, device: str = "cpu") -> None:
        self.painter = Painter(folder).to(device, torch.bfloat16)
        self.module: nn.Module = self.painter.transformer
        self.school = school

    def loss(self, step: int) -> Tensor:
        lesson = self.school.lesson(step)
        prompt = self.painter.read(lesson.texts)
        transformer = self.painter.transformer
        latents = lesson.latents.to(transformer.device)
        return flow.loss(transformer, latents, *prompt, lesson.counts.to(transformer.device))


def assemble(folder: Path) -> None:
    """Make a pipeline's folder of the parts that the stages left in it."""
    parts = {
        "vae": AutoencoderKL, "text_encoder": CLIPTextModel, "text_encoder_2": T5EncoderModel,
        "tokenizer": CLIPTokenizer, "tokenizer_2": PreTrainedTokenizerFast,
        "transformer": FluxTransformer2DModel,
    }  # fmt: skip
    halves = {
        "vae": {"dtype": torch.bfloat16},
        "transformer": {"dtype": torch.bfloat16},
    }
    loaded = {
        name: kind.from_pretrained(folder / name, **halves.get(name, {}))
        for name, kind in parts.items()
    }
    sampler = FlowMatchEulerDiscreteScheduler(shift=flow.SHIFT)
    FluxPipeline(scheduler=sampler, **loaded).save_pretrained(folder)
    make_portable(folder)


def make_portable(folder: Path) -> None:
    """Take out of its configs what is true of this machine and its libraries alone."""
    for path in folder.rglob("*.json"):
        settings = json.loads(path.read_text())
        if "_name_or_path" in settings:  # a folder of this machine
            settings["_name_or_path"] = Path(
                "tiny-flux", path.parent.relative_to(folder)
            ).as_posix()
        text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
        # The name that transformers 4 knows too.
        path.write_text(text.replace('"TokenizersBackend"', '"PreTrainedTokenizerFast"'))
