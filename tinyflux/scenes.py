"""Landscapes in flat art: what is in a scene, how one is drawn by lot, and its picture.

The same scene and size always give the same picture. How a scene is told in words is not known
here.
"""

from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from PIL import Image

from tinyflux import skies
from tinyflux.canvas import Canvas, Colour, Paint, mix
from tinyflux.lands import LANDS, SNOW, Ground
from tinyflux.light import LIGHTS
from tinyflux.things import COLOURS, THINGS, Brush, Things

TIMES = tuple(LIGHTS)
POSITIONS = {"left": 0.22, "centre": 0.5, "right": 0.78}
# Things in the distance of one size would make a bridge as wide as three tents.
SIZES = {
    "house": 0.31,
    "boat": 0.32,
    "tree": 0.34,
    "lighthouse": 0.36,
    "tent": 0.32,
    "balloon": 0.34,
    "castle": 0.33,
    "windmill": 0.35,
    "bridge": 0.27,
}
WATERS = ("sea", "lake")


@dataclass(frozen=True)
class Scene:
    time: str
    land: str
    thing: str | None = None
    colour: str | None = None
    position: str | None = None  # None where there is no thing, or more than one
    count: int = 0
    sun: bool = False
    moon: bool = False
    stars: bool = False
    clouds: bool = False
    birds: bool = False
    seed: int = 0  # of everything that no field names: the shape of a ridge, the place of a star


def random_scene(rng: Random, things: float = 0.8) -> Scene:
    """A scene drawn by lot; `things` is the chance that something stands in it."""
    time, land = rng.choice(TIMES), rng.choice(tuple(LANDS))
    thing = colour = position = None
    count = 0
    if rng.random() < things:
        thing = rng.choice([name for name in THINGS if name != "boat" or land in WATERS])
        colour, count = rng.choice(tuple(COLOURS)), rng.choice((1, 1, 1, 1, 2, 3))
        position = rng.choice(tuple(POSITIONS)) if count == 1 else None
    night = time == "night"
    return Scene(
        time,
        land,
        thing,
        colour,
        position,
        count,
        sun=time in ("sunset", "sunrise", "day") and rng.random() < 0.75,
        moon=night and rng.random() < 0.6,
        stars=night and rng.random() < 0.7,
        clouds=time == "storm" or rng.random() < 0.45,
        birds=time in ("sunset", "sunrise", "day", "fog") and rng.random() < 0.3,
        seed=rng.randrange(2**31),
    )


def picture(
    scene: Scene, width: int = 256, height: int = 256, things: Things = THINGS
) -> Image.Image:
    """Draw a scene; `things` may draw its thing in another way than the scenes do."""
    rng, light = Random(scene.seed), LIGHTS[scene.time]
    canvas = Canvas(width, height)
    horizon = canvas.height * rng.uniform(0.54, 0.6)
    _sky(canvas, rng, scene, horizon)
    LANDS[scene.land](Ground(canvas, rng, light, horizon, snowing=scene.time == "snow"))
    if scene.time == "fog":
        skies.fog(canvas, rng, light, horizon)
    if scene.thing:
        _things(canvas, rng, scene, horizon, things)
    if scene.time == "storm":
        skies.rain(canvas, rng)
    if scene.time == "snow":
        skies.snowfall(canvas, rng)
    return canvas.finish()


class Spot(NamedTuple):
    """Where a thing stands, in units of the picture's shorter side."""

    x: float  # of its middle
    foot: float
    size: float


def spots(scene: Scene, width: int, height: int) -> list[Spot]:
    """Where the things of a scene's picture of this size stand."""
    found: list[Spot] = []

    def note(brush: Brush, _: Colour) -> None:
        found.append(Spot(brush.x, brush.foot, brush.size))

    # Where they come depends on the lots drawn for sky and land before, but not on the pixels.
    picture(scene, width // 8, height // 8, dict.fromkeys(THINGS, note))
    return found


def _sky(canvas: Canvas, rng: Random, scene: Scene, horizon: float) -> None:
    light = LIGHTS[scene.time]
    skies.gradient(canvas, light, horizon)
    x = canvas.width * rng.choice((rng.uniform(0.16, 0.4), rng.uniform(0.6, 0.84)))
    if scene.stars:
        skies.stars(canvas, rng, horizon)
    if scene.sun:
        low = scene.time != "day"
        skies.sun(
            canvas,
            light,
            x,
            horizon * rng.uniform(*((0.55, 0.72) if low else (0.22, 0.36))),
            0.085 if low else 0.075,
        )
    if scene.moon:
        skies.moon(
            canvas, light, x, horizon * rng.uniform(0.24, 0.4), 0.075, crescent=rng.random() < 0.4
        )
    if scene.clouds:
        skies.clouds(canvas, rng, light, horizon, heavy=scene.time == "storm")
    if scene.time == "storm" and rng.random() < 0.7:
        skies.lightning(canvas, rng, light, horizon)
    if scene.birds:
        skies.birds(canvas, rng, light, horizon)


def _things(canvas: Canvas, rng: Random, scene: Scene, horizon: float, things: Things) -> None:
    assert scene.thing and scene.colour
    size = SIZES[scene.thing] * (1.0 if scene.count == 1 else 0.8 if scene.count == 2 else 0.7)
    places = (
        [POSITIONS[scene.position]]
        if scene.position
        else [(i + 0.5) / scene.count for i in range(scene.count)]
    )
    for place in places:
        x = canvas.width * (place + rng.uniform(-0.04, 0.04))
        foot = horizon + (canvas.height - horizon) * rng.uniform(0.58, 0.68)
        if scene.thing == "balloon":
            foot = horizon * rng.uniform(0.7, 0.85)
        elif scene.thing == "boat":
            foot = horizon + (canvas.height - horizon) * rng.uniform(0.42, 0.56)
        else:
            _footing(canvas, scene, x, foot, size)
        things[scene.thing](Brush(canvas, LIGHTS[scene.time], x, foot, size), COLOURS[scene.colour])


def _footing(canvas: Canvas, scene: Scene, x: float, foot: float, size: float) -> None:
    """A shadow on the ground, or an island where there is none."""
    shadow: Paint = (10, 14, 40, 60)
    if scene.land in WATERS and scene.thing != "bridge":
        light = LIGHTS[scene.time]
        grass = light.shade(SNOW if scene.time == "snow" else (116, 172, 92))
        canvas.ellipse(
            x, foot + 0.026, size * 0.86, 0.05, mix(light.shade((196, 160, 112)), light.haze, 0.1)
        )
        canvas.ellipse(x, foot + 0.012, size * 0.8, 0.042, grass)
    canvas.ellipse(x + size * 0.08, foot + 0.004, size * 0.62, 0.02, shadow)
