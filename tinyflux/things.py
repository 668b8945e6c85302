"""The things that stand in a scene, each drawn from its foot upwards in one main colour."""

from collections.abc import Callable, Mapping

from tinyflux.canvas import Canvas, Colour, Paint, mix
from tinyflux.light import Light

COLOURS: dict[str, Colour] = {
    "red": (220, 48, 46),
    "orange": (246, 136, 32),
    "yellow": (250, 208, 46),
    "green": (46, 160, 78),
    "blue": (40, 104, 222),
    "purple": (134, 62, 186),
    "pink": (246, 122, 176),
    "white": (246, 246, 242),
}
SHADOW: Paint = (10, 10, 40, 56)
CREAM = (250, 240, 214)
WOOD = (112, 74, 50)
LAMP = (255, 214, 96)
GLASS = (64, 88, 120)


class Brush:
    """Draws in a thing's own coordinates: x from its middle, y up from its foot, 1.0 its size."""

    def __init__(self, canvas: Canvas, light: Light, x: float, foot: float, size: float) -> None:
        self.canvas, self.light = canvas, light
        self.x, self.foot, self.size = x, foot, size

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return self.x + x * self.size, self.foot - y * self.size

    def polygon(self, points: list[tuple[float, float]], paint: Paint) -> None:
        self.canvas.polygon([self._at(x, y) for x, y in points], paint)

    def box(self, left: float, bottom: float, right: float, top: float, paint: Paint) -> None:
        self.canvas.rectangle(*self._at(left, top), *self._at(right, bottom), paint)

    def ellipse(self, x: float, y: float, rx: float, ry: float, paint: Paint) -> None:
        self.canvas.ellipse(*self._at(x, y), rx * self.size, ry * self.size, paint)

    def dome(self, x: float, y: float, rx: float, ry: float, paint: Paint) -> None:
        self.canvas.dome(*self._at(x, y), rx * self.size, ry * self.size, paint)

    def line(self, points: list[tuple[float, float]], width: float, paint: Paint) -> None:
        self.canvas.line([self._at(x, y) for x, y in points], width * self.size, paint)

    def lit(self, colour: Colour) -> Colour:
        """A thing keeps more of its colour in the dark than the land: it is what one looks at."""
        return mix(self.light.shade(colour), colour, 0.42)

    @property
    def window(self) -> Colour:
        return LAMP if self.light.lamps else GLASS


def house(brush: Brush, colour: Colour) -> None:
    wall, roof = brush.lit(colour), mix(brush.lit(colour), (46, 26, 40), 0.66)
    brush.box(0.2, 0.6, 0.3, 0.95, roof)
    brush.box(-0.42, 0.0, 0.42, 0.52, wall)
    brush.box(0.12, 0.0, 0.42, 0.52, SHADOW)
    brush.polygon([(-0.54, 0.5), (0.0, 0.96), (0.54, 0.5)], roof)
    brush.box(-0.09, 0.0, 0.09, 0.3, brush.lit(WOOD))
    for left in (-0.33, 0.18):
        brush.box(left, 0.2, left + 0.15, 0.38, brush.window)


def boat(brush: Brush, colour: Colour) -> None:
    brush.box(-0.02, 0.2, 0.02, 1.0, brush.lit(WOOD))
    brush.polygon(
        [(0.05, 0.96), (0.05, 0.26), (0.46, 0.26)], brush.lit(mix(colour, (255, 255, 255), 0.12))
    )
    brush.polygon([(-0.05, 0.88), (-0.05, 0.26), (-0.36, 0.26)], brush.lit(CREAM))
    brush.polygon([(-0.54, 0.2), (0.56, 0.2), (0.36, -0.04), (-0.36, -0.04)], brush.lit(colour))
    brush.polygon([(-0.46, 0.07), (0.46, 0.07), (0.36, -0.04), (-0.36, -0.04)], SHADOW)
    brush.ellipse(0.0, -0.05, 0.5, 0.03, (255, 255, 255, 90))


def tree(brush: Brush, colour: Colour) -> None:
    crown = brush.lit(colour)
    brush.polygon([(-0.09, 0.0), (0.09, 0.0), (0.05, 0.5), (-0.05, 0.5)], brush.lit(WOOD))
    crowns = [(-0.2, 0.55, 0.25), (0.2, 0.53, 0.25), (0.0, 0.78, 0.28), (0.0, 0.58, 0.28)]
    for x, y, radius in crowns:
        brush.ellipse(x, y, radius, radius, mix(crown, (10, 10, 40), 0.22))
    for x, y, radius in crowns:
        brush.ellipse(x - 0.04, y + 0.04, radius * 0.84, radius * 0.84, crown)


def lighthouse(brush: Brush, colour: Colour) -> None:
    paint = brush.lit(colour)
    white = brush.lit((196, 202, 214) if colour == COLOURS["white"] else CREAM)

    def half_width(y: float) -> float:
        return 0.2 - 0.08 * y / 0.95

    for index in range(5):
        low, high = index * 0.19, (index + 1) * 0.19
        wide, narrow = half_width(low), half_width(high)
        band = paint if index % 2 == 0 else white
        brush.polygon([(-wide, low), (wide, low), (narrow, high), (-narrow, high)], band)
    brush.polygon([(0.03, 0.0), (0.2, 0.0), (0.12, 0.95), (0.03, 0.95)], SHADOW)
    brush.box(-0.18, 0.94, 0.18, 0.99, brush.lit((60, 60, 76)))
    brush.box(-0.09, 0.99, 0.09, 1.14, brush.window if brush.light.lamps else LAMP)
    brush.dome(0.0, 1.14, 0.14, 0.15, paint)
    if brush.light.lamps:
        for side in (-1, 1):
            beam = [(side * 0.1, 1.09), (side * 1.2, 1.3), (side * 1.2, 0.98), (side * 0.1, 1.04)]
            brush.polygon(beam, (255, 240, 170, 84))


def tent(brush: Brush, colour: Colour) -> None:
    brush.polygon([(-0.56, 0.0), (0.0, 0.72), (0.56, 0.0)], brush.lit(colour))
    brush.polygon([(0.0, 0.72), (0.56, 0.0), (0.2, 0.0)], SHADOW)
    inside = LAMP if brush.light.lamps else brush.lit((58, 40, 44))
    brush.polygon([(-0.17, 0.0), (0.0, 0.46), (0.17, 0.0)], inside)
    brush.line([(0.0, 0.7), (0.0, 0.84)], 0.05, brush.lit(WOOD))


def balloon(brush: Brush, colour: Colour) -> None:
    paint, pale = brush.lit(colour), brush.lit(mix(colour, (255, 255, 255), 0.5))
    if colour == COLOURS["white"]:
        pale = brush.lit((198, 204, 216))
    for x in (-0.12, 0.12):
        brush.line([(x * 2.1, 0.4), (x, 0.16)], 0.03, brush.lit(WOOD))
    brush.polygon([(-0.36, 0.56), (0.36, 0.56), (0.13, 0.28), (-0.13, 0.28)], paint)
    brush.ellipse(0.0, 0.72, 0.4, 0.4, paint)
    brush.ellipse(0.0, 0.7, 0.15, 0.41, pale)
    brush.polygon([(-0.13, 0.5), (0.13, 0.5), (0.06, 0.28), (-0.06, 0.28)], pale)
    brush.box(-0.13, 0.0, 0.13, 0.17, brush.lit(WOOD))


def castle(brush: Brush, colour: Colour) -> None:
    wall, roof = brush.lit(colour), mix(brush.lit(colour), (40, 24, 56), 0.62)
    brush.box(-0.42, 0.0, 0.42, 0.42, mix(wall, (10, 10, 40), 0.16))
    for left in (-0.36, -0.12, 0.12):
        brush.box(left + 0.02, 0.4, left + 0.2, 0.5, mix(wall, (10, 10, 40), 0.16))
    for x, top in ((-0.46, 0.66), (0.46, 0.66), (0.0, 0.86)):
        brush.box(x - 0.13, 0.0, x + 0.13, top, wall)
        brush.box(x + 0.04, 0.0, x + 0.13, top, SHADOW)
        brush.polygon([(x - 0.18, top), (x, top + 0.3), (x + 0.18, top)], roof)
        brush.box(x - 0.045, top - 0.22, x + 0.045, top - 0.08, brush.window)
    brush.box(-0.08, 0.0, 0.08, 0.16, brush.lit((58, 40, 44)))
    brush.dome(0.0, 0.16, 0.08, 0.1, brush.lit((58, 40, 44)))


def windmill(brush: Brush, colour: Colour) -> None:
    brush.polygon([(-0.27, 0.0), (0.27, 0.0), (0.15, 0.68), (-0.15, 0.68)], brush.lit(colour))
    brush.polygon([(0.06, 0.0), (0.27, 0.0), (0.15, 0.68), (0.06, 0.68)], SHADOW)
    brush.dome(0.0, 0.68, 0.19, 0.17, mix(brush.lit(colour), (46, 26, 40), 0.66))
    brush.box(-0.08, 0.0, 0.08, 0.22, brush.lit(WOOD))
    brush.box(-0.06, 0.36, 0.06, 0.5, brush.window)
    for dx, dy in ((0.86, 0.5), (-0.5, 0.86), (-0.86, -0.5), (0.5, -0.86)):
        tip = [(dx * 0.14 - dy * 0.0, 0.72 + dy * 0.14), (dx * 0.56, 0.72 + dy * 0.56)]
        side = [(x - dy * 0.12, y + dx * 0.12) for x, y in tip]
        brush.polygon([*tip, *reversed(side)], brush.lit(CREAM))
        brush.line([(0.0, 0.72), tip[1]], 0.045, brush.lit(WOOD))


def bridge(brush: Brush, colour: Colour) -> None:
    brush.ellipse(0.0, 0.02, 0.78, 0.09, brush.lit((84, 156, 214)))
    stone = brush.lit(colour)
    arch = [
        (-0.8, 0.0),
        (-0.8, 0.3),
        (-0.3, 0.48),
        (0.3, 0.48),
        (0.8, 0.3),
        (0.8, 0.0),
        (0.52, 0.0),
    ]
    inner = [(0.46, 0.16), (0.28, 0.28), (0.0, 0.32), (-0.28, 0.28), (-0.46, 0.16), (-0.52, 0.0)]
    brush.polygon([*arch, *inner], stone)
    brush.polygon(
        [(0.52, 0.0), (0.46, 0.16), (0.28, 0.28), (0.3, 0.33), (0.58, 0.22), (0.64, 0.0)], SHADOW
    )
    rail = [(-0.8, 0.46), (-0.3, 0.64), (0.3, 0.64), (0.8, 0.46)]
    brush.line(rail, 0.06, mix(stone, (46, 26, 40), 0.4))
    for x, y in ((-0.78, 0.3), (-0.3, 0.46), (0.0, 0.46), (0.3, 0.46), (0.78, 0.3)):
        brush.line([(x, y), (x, y + 0.18)], 0.06, mix(stone, (46, 26, 40), 0.4))


Things = Mapping[str, Callable[[Brush, Colour], None]]

THINGS: Things = {
    "house": house,
    "boat": boat,
    "tree": tree,
    "lighthouse": lighthouse,
    "tent": tent,
    "balloon": balloon,
    "castle": castle,
    "windmill": windmill,
    "bridge": bridge,
}
