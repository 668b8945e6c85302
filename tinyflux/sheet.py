"""`python -m tinyflux.sheet --out DIR --to FILE`: what the model paints, on one sheet to look at.

Prompts by seeds, each LoRA by weight, guidance, steps, shapes, and words that mean nothing to it.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import FluxPipeline
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import load_file

from tinyflux.sampling import add, paint
from tinyflux.styles import TRIGGERS

CELL, GAP, LINE = 160, 6, 18
COLUMNS = 6
PROMPTS = (
    "a red lighthouse on the right, the sea at sunset",
    "snowy mountains at night, stars and the moon",
    "a blue boat on a lake in the morning light",
    "a yellow tent on the left in a forest in fog",
    "two purple balloons over green hills by day",
    "a white castle in the middle, mountains in a storm",
    "a pink windmill near a village in the snow",
    "the desert at noon",
)
# What stands under each picture, since the sheet's letters are Latin.
STRANGE = {
    "nothing": "",
    "a cat": "a cat in a spaceship",
    "portrait, 4k": "portrait of a woman, 4k, masterpiece",
    "zorkamil": "zorkamil",
    "(Japanese)": "雪の山",
    "coffee": "a cup of coffee on a wooden table next to a laptop, morning light",
}
SCENE = "a red house on the left, mountains at sunset"
SIZES = ((128, 128), (192, 192), (320, 208), (208, 320), (384, 256), (384, 384))


class Strip(NamedTuple):
    """A row of the sheet: its title, its pictures, and what is written under each."""

    title: str
    pictures: list[Image.Image]
    labels: list[str]


def strips(pipe: FluxPipeline, adapters: Path) -> Iterator[Strip]:
    seeds = [f"seed {seed}" for seed in range(COLUMNS)]
    for prompt in PROMPTS:
        yield Strip(prompt, paint(pipe, [prompt] * COLUMNS), seeds)
    yield Strip("words that it was never told", paint(pipe, [*STRANGE.values()]), [*STRANGE])
    guidances = (1.0, 2.0, 3.0, 3.5, 4.5, 6.0)
    shown = [paint(pipe, [SCENE], guidance=each)[0] for each in guidances]
    yield Strip(SCENE, shown, [f"guidance {each}" for each in guidances])
    counts = (2, 4, 6, 8, 12, 20)
    shown = [paint(pipe, [SCENE], steps=each)[0] for each in counts]
    yield Strip(SCENE, shown, [f"{each} steps" for each in counts])
    shown = [paint(pipe, [SCENE], size=each)[0] for each in SIZES]
    yield Strip(SCENE, shown, [f"{width}x{height}" for width, height in SIZES])
    for name, trigger in TRIGGERS.items():
        yield _weights(pipe, load_file(adapters / f"{name}.safetensors"), f"{SCENE}, {trigger}")


def _weights(pipe: FluxPipeline, adapter: dict[str, torch.Tensor], prompt: str) -> Strip:
    shown, weights = [], (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
    for weight in weights:
        add(pipe, adapter, weight)
        shown += paint(pipe, [prompt], seed=3)
        add(pipe, adapter, -weight)
    return Strip(prompt, shown, [f"weight {weight}" for weight in weights])


def sheet(rows: list[Strip]) -> Image.Image:
    step = CELL + GAP
    height = CELL + 2 * LINE + GAP
    page = Image.new("RGB", (COLUMNS * step + GAP, len(rows) * height + GAP), (250, 250, 250))
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(12)
    for row, strip in enumerate(rows):
        top = GAP + row * height
        draw.text((GAP, top), strip.title, (30, 30, 30), font)
        for column, (image, label) in enumerate(zip(strip.pictures, strip.labels, strict=True)):
            small = image.copy()
            small.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
            left = GAP + column * step
            page.paste(small, (left + (CELL - small.width) // 2, top + LINE))
            draw.text((left, top + LINE + CELL), label, (110, 110, 110), font)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(prog="tinyflux.sheet", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder that was trained in")
    parser.add_argument("--to", type=Path, required=True, help="the picture to write")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pipe = FluxPipeline.from_pretrained(arguments.out / "tiny-flux", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    sheet(list(strips(pipe, arguments.out / "adapters"))).save(arguments.to, quality=88)


if __name__ == "__main__":
    main()
