"""The lands: what lies between the horizon and the viewer's feet, painted from far to near."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from PIL import Image

from tinyflux.canvas import Canvas, Colour, Point, fade, mix
from tinyflux.light import Light

SNOW = (240, 246, 253)
GRASS = (104, 176, 78)
MEADOW = (132, 194, 84)
ROCK = (104, 112, 146)
SAND = (240, 188, 112)
PINE = (38, 112, 82)
WATER = (44, 128, 196)


@dataclass(frozen=True)
class Ground:
    """One picture's land in the making: where it is painted, in which light, from which horizon."""

    canvas: Canvas
    rng: Random
    light: Light
    horizon: float
    snowing: bool = False

    def at(self, depth: float) -> float:
        """The height in the picture that is this far, 0 to 1, from the horizon to the bottom."""
        return self.horizon + (self.canvas.height - self.horizon) * depth

    def shade(self, colour: Colour, distance: float = 0.0, snow: float = 0.82) -> Colour:
        return self.light.shade(mix(colour, SNOW, snow) if self.snowing else colour, distance)

    def below(self, edge: list[Point], colour: Colour) -> None:
        """Fill everything under an edge that runs from left to right."""
        bottom = self.canvas.height + 0.01
        self.canvas.polygon([*edge, (self.canvas.width + 0.01, bottom), (-0.01, bottom)], colour)


def wave(ground: Ground, top: float, height: float, bends: float) -> list[Point]:
    """A rolling edge: two sines whose phases are drawn."""
    first, second = (ground.rng.uniform(0, math.tau) for _ in range(2))
    edge = []
    for index in range(65):
        x = -0.01 + (ground.canvas.width + 0.02) * index / 64
        roll = math.sin(x * bends + first) * 0.65 + math.sin(x * bends * 2.1 + second) * 0.35
        edge.append((x, top - height * roll))
    return edge


def _jagged(rng: Random, start: Point, end: Point, steps: int, depth: float) -> list[Point]:
    points = [start]
    for index in range(1, steps):
        part = index / steps
        swing = depth * (1 if index % 2 else -0.5) * rng.uniform(0.6, 1.2)
        points.append(
            (start[0] + (end[0] - start[0]) * part, start[1] + (end[1] - start[1]) * part + swing)
        )
    return [*points, end]


def _peak(
    ground: Ground, x: float, base: float, height: float, distance: float, capped: bool
) -> None:
    rng = ground.rng
    half = height * rng.uniform(0.75, 0.95)
    top, split = (x, base - height), x + half * rng.uniform(0.05, 0.3)
    colour = ground.shade(ROCK, distance, snow=0.25)
    ground.canvas.polygon(
        [(x - half, base), top, (x + half, base)], mix(colour, (255, 250, 240), 0.1)
    )
    shadow = [top, (x + half, base), (split, base), (split - half * 0.22, base - height * 0.5)]
    ground.canvas.polygon(shadow, mix(colour, (16, 12, 60), 0.2))
    if not capped:
        return
    # The cap ends in a zigzag at a fixed part of the height, lit on the left as the rock is.
    part = rng.uniform(0.4, 0.5)
    left, right = (
        (x - half * part, base - height * (1 - part)),
        (x + half * part, base - height * (1 - part)),
    )
    middle = (x + half * 0.02, base - height * (0.94 - part))
    snow = ground.light.shade(SNOW, distance * 0.6)
    ground.canvas.polygon([top, *_jagged(rng, left, middle, 4, -0.035)], snow)
    ground.canvas.polygon(
        [top, *_jagged(rng, middle, right, 4, -0.035)], mix(snow, (70, 90, 170), 0.22)
    )


def _range(
    ground: Ground, base: float, height: float, distance: float, capped: bool = False
) -> None:
    count = max(3, round(3.4 * ground.canvas.width))
    order = [(index + ground.rng.uniform(0.2, 0.8)) / count for index in range(count)]
    ground.rng.shuffle(order)
    for part in order:
        tall = height * ground.rng.uniform(0.62, 1.0)
        _peak(ground, part * ground.canvas.width, base, tall, distance, capped)
    # Where two feet do not meet, the slope goes on instead of the sky.
    ground.below(
        [(-0.01, base - 0.012), (ground.canvas.width + 0.01, base - 0.012)],
        ground.shade(ROCK, distance, 0.25),
    )


def _pine(ground: Ground, x: float, foot: float, size: float, colour: Colour) -> None:
    dark = mix(colour, (10, 10, 40), 0.2)
    ground.canvas.rectangle(x - size * 0.05, foot - size * 0.2, x + size * 0.05, foot, dark)
    for bottom, half, height in ((0.12, 0.3, 0.46), (0.36, 0.24, 0.4), (0.6, 0.17, 0.4)):
        low, top = foot - size * bottom, foot - size * (bottom + height)
        ground.canvas.polygon([(x - size * half, low), (x, top), (x + size * half, low)], colour)
        ground.canvas.polygon([(x, low), (x, top), (x + size * half, low)], dark)


def _pines(ground: Ground, foot: float, size: float, distance: float, gap: float) -> None:
    x = -ground.rng.uniform(0, gap)
    colour = ground.shade(PINE, distance, snow=0.45)
    while x < ground.canvas.width + gap:
        tall = size * ground.rng.uniform(0.75, 1.15)
        _pine(
            ground,
            x,
            foot + ground.rng.uniform(-0.01, 0.012),
            tall,
            mix(colour, (255, 255, 220), ground.rng.uniform(0, 0.06)),
        )
        x += gap * ground.rng.uniform(0.6, 1.3)


def _water(ground: Ground, top: float) -> None:
    """A mirror of everything above, tinted, with streaks of light upon it."""
    image, scale = ground.canvas.image, ground.canvas.scale
    line = round(top * scale)
    depth = image.height - line
    above = image.crop((0, max(0, line - round(depth * 1.25)), image.width, line))
    mirror = above.transpose(Image.Transpose.FLIP_TOP_BOTTOM).resize((image.width, depth))
    tint = Image.new("RGB", mirror.size, ground.light.shade(WATER))
    image.paste(Image.blend(mirror, tint, 0.5), (0, line))
    for _ in range(round(15 * ground.canvas.width)):
        y = top + (ground.canvas.height - top) * ground.rng.uniform(0.04, 1.0)
        length = 0.03 + 0.12 * (y - top) * ground.rng.uniform(0.6, 1.6)
        x = ground.rng.uniform(0, ground.canvas.width)
        ground.canvas.line(
            [(x - length, y), (x + length, y)],
            0.011,
            fade(mix(ground.light.sky[-1], (255, 255, 255), 0.4), 0.36),
        )


def meadow(ground: Ground, depth: float, colour: Colour) -> None:
    """The near ground that things stand on, with a lighter rim and a few tufts."""
    edge = wave(ground, ground.at(depth), 0.02, 3.0)
    lit = ground.shade(colour)
    ground.below(edge, mix(lit, (255, 250, 210), 0.16))
    ground.below([(x, y + 0.035) for x, y in edge], lit)
    ground.below([(x, y + 0.17) for x, y in edge], mix(lit, (10, 20, 60), 0.14))


def mountains(ground: Ground) -> None:
    _range(ground, ground.at(0.18), 0.34, 0.75)
    _range(ground, ground.at(0.3), 0.26, 0.3)
    ground.below(wave(ground, ground.at(0.26), 0.02, 4.0), ground.shade(PINE, 0.2))
    meadow(ground, 0.42, GRASS)


def snowy_mountains(ground: Ground) -> None:
    _range(ground, ground.at(0.2), 0.42, 0.6, capped=True)
    _range(ground, ground.at(0.3), 0.3, 0.2, capped=True)
    ground.below(wave(ground, ground.at(0.28), 0.02, 4.0), ground.shade(mix(PINE, SNOW, 0.25), 0.2))
    meadow(ground, 0.42, mix(SNOW, (150, 180, 220), 0.15))


def hills(ground: Ground) -> None:
    for depth, height, distance in ((0.02, 0.07, 0.8), (0.14, 0.06, 0.45), (0.28, 0.045, 0.15)):
        edge = wave(ground, ground.at(depth), height, ground.rng.uniform(3.5, 5.5))
        ground.below(edge, ground.shade(mix(GRASS, PINE, 0.35 - distance * 0.3), distance))
    meadow(ground, 0.46, MEADOW)


def desert(ground: Ground) -> None:
    for depth, height, distance in ((0.0, 0.045, 0.75), (0.16, 0.05, 0.35), (0.32, 0.04, 0.1)):
        edge = wave(ground, ground.at(depth), height, ground.rng.uniform(2.6, 4.0))
        colour = ground.shade(mix(SAND, (214, 120, 72), 0.55 - distance * 0.3), distance)
        ground.below(edge, colour)
        ground.below(
            [(x, y + 0.05 + 0.03 * math.sin(x * 5)) for x, y in edge],
            mix(colour, (120, 40, 40), 0.1),
        )
    meadow(ground, 0.46, SAND)


def sea(ground: Ground) -> None:
    _water(ground, ground.horizon)
    for depth, strength in ((0.5, 0.22), (0.74, 0.3)):
        edge = wave(ground, ground.at(depth), 0.008, 14.0)
        deep = mix(ground.light.shade(WATER), (8, 24, 80), 0.3)
        bottom = ground.canvas.height + 0.01
        ground.canvas.polygon(
            [*edge, (ground.canvas.width + 0.01, bottom), (-0.01, bottom)], fade(deep, strength)
        )


def lake(ground: Ground) -> None:
    _range(ground, ground.at(0.06), 0.24, 0.6)
    ground.below(wave(ground, ground.at(0.02), 0.03, 5.0), ground.shade(PINE, 0.4))
    _pines(ground, ground.at(0.06), 0.09, 0.35, 0.06)
    _water(ground, ground.at(0.08))
    shore = [
        (x, y + 0.05 * (x / ground.canvas.width - 0.5) ** 2)
        for x, y in wave(ground, ground.at(0.84), 0.015, 4.0)
    ]
    ground.below(shore, mix(ground.shade(GRASS), (255, 250, 210), 0.14))
    ground.below([(x, y + 0.03) for x, y in shore], ground.shade(GRASS))


def forest(ground: Ground) -> None:
    ground.below(wave(ground, ground.at(0.05), 0.04, 4.0), ground.shade(PINE, 0.75))
    _pines(ground, ground.at(0.12), 0.2, 0.7, 0.075)
    ground.below(wave(ground, ground.at(0.12), 0.01, 4.0), ground.shade(PINE, 0.45))
    _pines(ground, ground.at(0.3), 0.28, 0.36, 0.11)
    meadow(ground, 0.28, mix(GRASS, PINE, 0.3))
    _pines(ground, ground.at(0.36), 0.34, 0.05, 0.2)


def _tower(
    ground: Ground, left: float, wide: float, foot: float, tall: float, distance: float
) -> None:
    canvas, rng = ground.canvas, ground.rng
    tone = rng.choice(((92, 108, 150), (124, 112, 148), (86, 122, 146), (150, 128, 138)))
    colour = ground.light.shade(tone, distance)
    canvas.rectangle(left, foot - tall, left + wide, foot, colour)
    if rng.random() < 0.3:
        canvas.rectangle(
            left + wide * 0.42, foot - tall - 0.06, left + wide * 0.58, foot - tall, colour
        )
    pane, gap = 0.02, 0.018
    lamp, glass = (255, 212, 110), mix(colour, ground.light.sky[-1], 0.4)
    columns = max(1, int((wide - gap) / (pane + gap)))
    margin = (wide - columns * pane - (columns - 1) * gap) / 2
    for row in range(int((tall - gap) / (pane + gap))):
        for column in range(columns):
            x, y = left + margin + column * (pane + gap), foot - tall + gap + row * (pane + gap)
            lit = ground.light.lamps and rng.random() < 0.45
            canvas.rectangle(
                x, y, x + pane, y + pane, mix(lamp, colour, distance * 0.5) if lit else glass
            )


def city(ground: Ground) -> None:
    for depth, tall, distance in ((0.24, 0.44, 0.7), (0.32, 0.3, 0.15)):
        x = -ground.rng.uniform(0, 0.08)
        while x < ground.canvas.width:
            wide = ground.rng.uniform(0.09, 0.16)
            _tower(ground, x, wide, ground.at(depth), tall * ground.rng.uniform(0.5, 1.0), distance)
            x += wide + (0.0 if distance > 0.5 else ground.rng.uniform(0.0, 0.09))
    ground.below(
        [(-0.01, ground.at(0.31)), (ground.canvas.width + 0.01, ground.at(0.31))],
        ground.shade((96, 100, 116), 0.1),
    )
    meadow(ground, 0.42, mix(GRASS, (120, 130, 130), 0.25))


def _cottage(ground: Ground, x: float, foot: float, size: float, church: bool) -> None:
    canvas, light = ground.canvas, ground.light
    wall = light.shade(ground.rng.choice(((246, 232, 206), (236, 214, 186), (228, 220, 214))), 0.15)
    roof = ground.shade(
        ground.rng.choice(((186, 84, 62), (164, 74, 66), (130, 88, 80))), 0.1, snow=0.75
    )
    if church:
        canvas.rectangle(x - size * 0.18, foot - size * 1.5, x + size * 0.18, foot, wall)
        canvas.polygon(
            [
                (x - size * 0.24, foot - size * 1.5),
                (x, foot - size * 2.3),
                (x + size * 0.24, foot - size * 1.5),
            ],
            roof,
        )
    canvas.rectangle(x - size * 0.5, foot - size * 0.55, x + size * 0.5, foot, wall)
    canvas.polygon(
        [
            (x - size * 0.62, foot - size * 0.5),
            (x, foot - size),
            (x + size * 0.62, foot - size * 0.5),
        ],
        roof,
    )
    pane = (255, 214, 110) if light.lamps else light.shade((92, 104, 128))
    for offset in (-0.26, 0.22):
        canvas.circle(x + offset * size, foot - size * 0.26, max(0.009, size * 0.11), pane)


def village(ground: Ground) -> None:
    for depth, height, distance in ((0.02, 0.06, 0.8), (0.16, 0.05, 0.4)):
        ground.below(
            wave(ground, ground.at(depth), height, 4.5),
            ground.shade(mix(GRASS, PINE, 0.2), distance),
        )
    count = round(6 * ground.canvas.width)
    church = ground.rng.randrange(1, count - 1)
    for row, (depth, size) in enumerate(((0.24, 0.085), (0.38, 0.11))):
        ground.below(
            wave(ground, ground.at(depth - 0.06), 0.012, 4.0), ground.shade(GRASS, 0.3 - row * 0.2)
        )
        for index in range(count):
            x = (index + 0.5 * row + ground.rng.uniform(0.1, 0.7)) / count * ground.canvas.width
            _cottage(
                ground,
                x,
                ground.at(depth) + ground.rng.uniform(-0.01, 0.01),
                size,
                row == 0 and index == church,
            )
    meadow(ground, 0.42, MEADOW)


LANDS: dict[str, Callable[[Ground], None]] = {
    "mountains": mountains,
    "snowy mountains": snowy_mountains,
    "hills": hills,
    "desert": desert,
    "sea": sea,
    "lake": lake,
    "forest": forest,
    "city": city,
    "village": village,
}
