"""What the page shows before anything was painted: each LoRA's preview, and the examples.

Painted by the finished model, with the settings that fluxui has when nobody changed them.
"""

import json
from pathlib import Path
from typing import NamedTuple

from diffusers import FluxPipeline
from PIL import Image
from safetensors.torch import load_file

from tinyflux.loras import SHOWN, WEIGHTS
from tinyflux.sampling import SIDE, add, paint
from tinyflux.styles import SUBJECT, TRIGGERS

WIDTH, HEIGHT = 320, 208  # of an example
ENLARGED = 1.5
SEEDS = {"pixel-art": 3, "ink-sketch": 8, "neon-night": 3, SUBJECT: 4}  # of the previews


class Example(NamedTuple):
    prompt: str
    seed: int
    lora: str | None = None


EXAMPLES = (
    Example("snowy mountains at sunset", 3),
    Example("a red lighthouse on the right, stormy sea", 4),
    Example("a forest at night, full moon and stars", 3),
    Example("a yellow balloon on the left, green hills by day", 2),
    Example("a city at night, neon night", 4, "neon-night"),
    Example("TOK on the left, hills at sunset", 2, SUBJECT),
)


def with_lora(
    pipe: FluxPipeline, adapters: Path, example: Example, size: tuple[int, int]
) -> Image.Image:
    if example.lora is None:
        return paint(pipe, [example.prompt], seed=example.seed, size=size)[0]
    adapter = load_file(adapters / f"{example.lora}.safetensors")
    add(pipe, adapter, WEIGHTS[example.lora])
    [picture] = paint(pipe, [example.prompt], seed=example.seed, size=size)
    add(pipe, adapter, -WEIGHTS[example.lora])
    return picture


def previews(pipe: FluxPipeline, adapters: Path, folder: Path) -> None:
    for name, prompt in SHOWN.items():
        shown = Example(f"{prompt}, {TRIGGERS[name]}", SEEDS[name], name)
        picture = with_lora(pipe, adapters, shown, (SIDE, SIDE))
        picture.save(folder / name / "preview.webp", quality=90)


def examples(pipe: FluxPipeline, adapters: Path, folder: Path) -> None:
    """`examples.json` and its pictures, enlarged for screens that have more points."""
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for number, example in enumerate(EXAMPLES, 1):
        picture = with_lora(pipe, adapters, example, (WIDTH, HEIGHT))
        size = round(WIDTH * ENLARGED), round(HEIGHT * ENLARGED)
        picture.resize(size, Image.Resampling.LANCZOS).save(folder / f"{number}.webp", quality=88)
        records.append({
            "prompt": example.prompt, "image": f"{number}.webp", "seed": example.seed,
            "lora": example.lora, "width": WIDTH, "height": HEIGHT,
        })  # fmt: skip
    (folder / "examples.json").write_text(json.dumps(records, indent=2) + "\n")
