"""The sky and its weather: gradient, sun, moon, stars, clouds, birds, rain, snow and fog."""

from random import Random

import numpy as np
from PIL import Image

from tinyflux.canvas import SUPERSAMPLING, Canvas, fade, mix
from tinyflux.light import Light

WHITE = (255, 255, 255)


def gradient(canvas: Canvas, light: Light, horizon: float) -> None:
    width, height = canvas.size
    stops = np.linspace(0.0, horizon / canvas.height, len(light.sky))
    rows = np.linspace(0.0, 1.0, height * SUPERSAMPLING)
    channels = [np.interp(rows, stops, [colour[i] for colour in light.sky]) for i in range(3)]
    column = np.stack(channels, axis=-1).round().astype(np.uint8)[:, None]
    canvas.use(Image.fromarray(column).resize((width * SUPERSAMPLING, height * SUPERSAMPLING)))


def halo(canvas: Canvas, x: float, y: float, radius: float, light: Light, strength: float) -> None:
    """A soft glow around a point. Drawn small and enlarged, since it has no edge to lose."""
    width, height = (max(1, side // 4) for side in canvas.size)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    dx = columns / width * canvas.width - x
    dy = rows / height * canvas.height - y
    alpha = strength * np.exp(-(dx * dx + dy * dy) / (2 * radius * radius))
    mask = Image.fromarray((alpha * 255).astype(np.uint8)).resize(
        canvas.image.size, Image.Resampling.BILINEAR
    )
    canvas.image.paste(mix(light.glow, WHITE, 0.45), (0, 0), mask)


def sun(canvas: Canvas, light: Light, x: float, y: float, radius: float) -> None:
    halo(canvas, x, y, radius * 2.6, light, 0.75)
    canvas.circle(x, y, radius * 1.35, fade(light.glow, 0.35))
    canvas.circle(x, y, radius, light.glow)


def moon(canvas: Canvas, light: Light, x: float, y: float, radius: float, crescent: bool) -> None:
    halo(canvas, x, y, radius * 2.4, light, 0.4)
    if crescent:
        bite = [(x + radius * 0.5, y - radius * 0.28)]
        _crescent(canvas, light, x, y, radius, bite[0])
        return
    canvas.circle(x, y, radius, light.glow)
    for dx, dy, size in ((-0.35, -0.2, 0.24), (0.25, 0.3, 0.3), (0.35, -0.35, 0.16)):
        canvas.circle(
            x + dx * radius, y + dy * radius, size * radius, mix(light.glow, light.haze, 0.22)
        )


def _crescent(
    canvas: Canvas, light: Light, x: float, y: float, radius: float, bite: tuple[float, float]
) -> None:
    mask = Canvas(*canvas.size)
    mask.circle(x, y, radius, WHITE)
    mask.circle(*bite, radius * 0.86, (0, 0, 0))
    canvas.image.paste(light.glow, (0, 0), mask.image.convert("L"))


def stars(canvas: Canvas, rng: Random, horizon: float) -> None:
    for _ in range(round(28 * canvas.width * horizon / 0.58)):
        x, y = rng.uniform(0, canvas.width), rng.uniform(0, horizon * 0.92)
        size = rng.choice((0.0068, 0.0068, 0.0085, 0.02))
        colour = rng.choice(((255, 255, 255), (255, 240, 200), (200, 220, 255)))
        if size < 0.015:
            canvas.circle(x, y, size, colour)
        else:
            _sparkle(canvas, x, y, size, colour)


def _sparkle(canvas: Canvas, x: float, y: float, size: float, colour: tuple[int, int, int]) -> None:
    waist = size * 0.3
    tips = [(x, y - size), (x + size, y), (x, y + size), (x - size, y)]
    waists = [
        (x + waist, y - waist),
        (x + waist, y + waist),
        (x - waist, y + waist),
        (x - waist, y - waist),
    ]
    canvas.polygon([point for pair in zip(tips, waists, strict=True) for point in pair], colour)


def clouds(canvas: Canvas, rng: Random, light: Light, horizon: float, heavy: bool = False) -> None:
    number = rng.randint(5, 7) if heavy else rng.randint(2, 4)
    for index in range(number):
        x = canvas.width * (index + rng.uniform(0.1, 0.9)) / number
        y = rng.uniform(0.1, 0.38 if heavy else 0.6) * horizon
        _cloud(canvas, rng, light, x, y, rng.uniform(0.13, 0.2) * (1.6 if heavy else 1.0))


def _cloud(canvas: Canvas, rng: Random, light: Light, x: float, y: float, size: float) -> None:
    colour = mix(light.cloud, light.sky[1], rng.uniform(0.0, 0.25))
    bumps = [(-0.55, 0.32), (-0.15, 0.55), (0.28, 0.44), (0.62, 0.26)]
    if rng.random() < 0.5:
        bumps = [(-offset, radius) for offset, radius in bumps]
    for shift, paint in ((0.0, mix(colour, light.haze, 0.25)), (-0.12, colour)):
        for offset, radius in bumps:
            canvas.dome(
                x + (offset + shift * 0.4) * size,
                y,
                radius * size,
                radius * size * (1 + shift),
                paint,
            )


def birds(canvas: Canvas, rng: Random, light: Light, horizon: float) -> None:
    colour = mix(light.shade((40, 44, 60)), light.sky[0], 0.15)
    x, y = rng.uniform(0.25, 0.7) * canvas.width, rng.uniform(0.25, 0.5) * horizon
    for index in range(rng.randint(3, 5)):
        side = index % 2 * 2 - 1
        left, top = (
            x + side * 0.075 * ((index + 1) // 2),
            y + 0.045 * ((index + 1) // 2) + rng.uniform(-0.01, 0.01),
        )
        wing = rng.uniform(0.026, 0.034)
        wings = [
            (left - wing, top - wing * 0.5),
            (left - wing * 0.45, top - wing * 0.62),
            (left, top),
        ]
        canvas.line(wings, 0.012, colour)
        canvas.line([(2 * left - px, py) for px, py in wings], 0.012, colour)


def lightning(canvas: Canvas, rng: Random, light: Light, horizon: float) -> None:
    x, top = rng.uniform(0.15, 0.85) * canvas.width, 0.28 * horizon
    halo(canvas, x, horizon * 0.55, 0.16, light, 0.45)
    shape = [
        (0.02, 0),
        (-0.045, 0.3),
        (-0.008, 0.28),
        (-0.035, 0.62),
        (0.055, 0.2),
        (0.015, 0.22),
        (0.06, 0),
    ]
    canvas.polygon([(x + dx, top + dy * horizon) for dx, dy in shape], light.glow)


def rain(canvas: Canvas, rng: Random) -> None:
    for _ in range(round(30 * canvas.width * canvas.height)):
        x, y = rng.uniform(0, canvas.width * 1.1), rng.uniform(-0.05, canvas.height)
        length = rng.uniform(0.06, 0.09)
        canvas.line([(x, y), (x - length * 0.35, y + length)], 0.012, (205, 220, 232, 96))


def snowfall(canvas: Canvas, rng: Random) -> None:
    for _ in range(round(54 * canvas.width * canvas.height)):
        x, y = rng.uniform(0, canvas.width), rng.uniform(0, canvas.height)
        canvas.circle(x, y, rng.choice((0.007, 0.009, 0.012)), WHITE)


def fog(canvas: Canvas, rng: Random, light: Light, horizon: float) -> None:
    """Two soft bands of mist, the nearer one lower and thinner."""
    rows = np.linspace(0.0, canvas.height, canvas.image.height)
    for centre, spread, strength in (
        (horizon, 0.1, 0.7),
        (horizon + rng.uniform(0.16, 0.22), 0.07, 0.55),
    ):
        alpha = strength * np.exp(-((rows - centre) ** 2) / (2 * spread * spread))
        mask = Image.fromarray((alpha[:, None] * 255).astype(np.uint8)).resize(canvas.image.size)
        canvas.image.paste(light.haze, (0, 0), mask)
