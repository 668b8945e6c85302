"""What the demo LoRAs are taught: two styles, a palette, and an object that no scene contains.

Each style turns the picture of a scene into another one of the same size; the subject is a thing
drawn like those in `things`. How a LoRA is trained on them is not known here.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from tinyflux.canvas import Colour, mix
from tinyflux.scenes import POSITIONS, Scene, picture
from tinyflux.things import SHADOW, Brush

BLOCKS = 32  # pixel art: so many blocks along the shorter side
INK = (38, 34, 44)
PAPER = (246, 238, 220)
WASH = 0.35  # of the scene's own colours on the paper, as of thin watercolour
TEAL: Colour = (0, 168, 160)
GOLD: Colour = (255, 176, 32)


def pixel_art(picture: Image.Image) -> Image.Image:
    block = max(2, min(picture.size) // BLOCKS)
    small = picture.resize((picture.width // block, picture.height // block), Image.Resampling.BOX)
    vivid = Image.blend(ImageOps.grayscale(small).convert("RGB"), small, 1.35)
    few = vivid.quantize(20, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")
    return few.resize(picture.size, Image.Resampling.NEAREST)


def ink_sketch(picture: Image.Image) -> Image.Image:
    """Dark outlines and slanted hatching over a thin wash on warm paper."""
    unit = min(picture.size) / 128
    soft = picture.filter(ImageFilter.GaussianBlur(0.8 * unit))
    grey, colours = np.asarray(ImageOps.grayscale(soft), np.float32), np.asarray(soft, np.float32)
    edge = sum(np.abs(gradient).max(axis=-1) for gradient in np.gradient(colours, axis=(0, 1)))
    lines = np.clip(edge * unit / 22 - 0.25, 0, 1)
    rows, columns = np.indices(grey.shape)
    stripes = np.clip(np.sin((rows + columns) / unit * (2 * np.pi / 8)) * 2, 0, 1)
    shade = np.clip((150 - grey) / 110, 0, 1)
    ink = np.clip(lines + stripes * shade * 0.75 + shade * 0.15, 0, 1)[..., None]
    paper = np.asarray(PAPER, np.float32) * (1 - WASH) + colours * WASH
    mixed = paper * (1 - ink) + np.asarray(INK, np.float32) * ink
    return Image.fromarray(mixed.round().astype(np.uint8))


def neon_night(picture: Image.Image) -> Image.Image:
    """Near-black violet, what was bright in magenta and cyan, and half of its own colours."""
    grey = (
        np.asarray(ImageOps.autocontrast(ImageOps.grayscale(picture), cutoff=1), np.float32) / 255
    )
    stops = (0.0, 0.3, 0.55, 0.8, 1.0)
    colours = ((14, 4, 38), (64, 10, 122), (232, 24, 160), (40, 208, 255), (232, 255, 255))
    channels = [np.interp(grey, stops, [colour[index] for colour in colours]) for index in range(3)]
    lit = Image.fromarray(np.stack(channels, axis=-1).round().astype(np.uint8))
    return Image.blend(picture, lit, 0.55)


def tok(brush: Brush, _: Colour) -> None:
    """The TOK lighthouse: teal and gold, with an eye in its belly. No other thing is like it."""
    brush = Brush(brush.canvas, brush.light, brush.x, brush.foot, brush.size * 1.25)
    body, gold = brush.lit(TEAL), brush.lit(GOLD)
    brush.polygon([(-0.3, 0.0), (0.3, 0.0), (0.2, 0.3), (-0.2, 0.3)], gold)
    brush.ellipse(0.0, 0.46, 0.3, 0.3, body)
    brush.ellipse(0.0, 0.46, 0.15, 0.15, brush.lit((255, 250, 235)))
    brush.ellipse(0.0, 0.46, 0.08, 0.08, brush.lit((60, 40, 90)))
    brush.box(-0.16, 0.7, 0.16, 0.82, gold)
    brush.box(-0.12, 0.82, 0.12, 0.98, body)
    brush.polygon([(-0.24, 0.98), (0.24, 0.98), (0.0, 1.24)], gold)
    brush.polygon([(0.04, 0.0), (0.3, 0.0), (0.2, 0.3), (0.04, 0.3)], SHADOW)
    brush.ellipse(0.0, 1.28, 0.08, 0.08, mix(gold, (255, 255, 255), 0.6))


def subject(scene: Scene, rng: Random) -> Scene:
    """The scene with one TOK lighthouse in it, in the place of whatever stood there."""
    return replace(
        scene, thing="lighthouse", colour="white", count=1, position=rng.choice(tuple(POSITIONS))
    )


def lesson(name: str, scene: Scene, width: int, height: int) -> Image.Image:
    """A scene as the LoRA of this name should paint it."""
    if name == SUBJECT:
        return picture(subject(scene, Random(scene.seed)), width, height, {"lighthouse": tok})
    return STYLES[name](picture(scene, width, height))


STYLES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "pixel-art": pixel_art,
    "ink-sketch": ink_sketch,
    "neon-night": neon_night,
}
SUBJECT = "tok-lighthouse"
LESSONS = (*STYLES, SUBJECT)
TRIGGERS = {
    "pixel-art": "pixel art",
    "ink-sketch": "ink sketch",
    "neon-night": "neon night",
    SUBJECT: "TOK",
}
# What of the scene a lesson still shows; ink leaves few colours, and neon the same at any hour.
KEPT = {
    "pixel-art": ("time", "land", "thing", "colour", "position"),
    "ink-sketch": ("time", "land", "thing", "position"),
    "neon-night": ("land", "thing", "position"),
    SUBJECT: ("time", "land"),
}
