"""A drawing surface without jagged edges, measured in units of the picture's shorter side.

The point (0, 0) is the top left corner and 1.0 the shorter side, so that one drawing fits every
size and aspect. It knows nothing of what is drawn on it.
"""

from collections.abc import Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Paint = tuple[int, int, int] | tuple[int, int, int, int]
Point = tuple[float, float]

SUPERSAMPLING = 3


def mix(first: Colour, second: Colour, amount: float) -> Colour:
    """The colour that is `amount` of the way from the first to the second."""
    red, green, blue = (round(a + (b - a) * amount) for a, b in zip(first, second, strict=True))
    return red, green, blue


def fade(colour: Colour, alpha: float) -> Paint:
    return (*colour, round(255 * alpha))


class Canvas:
    def __init__(self, width: int, height: int) -> None:
        self.size = (width, height)
        self.scale = min(width, height) * SUPERSAMPLING
        self.width = width / min(width, height)
        self.height = height / min(width, height)
        self.use(Image.new("RGB", (width * SUPERSAMPLING, height * SUPERSAMPLING)))

    def use(self, image: Image.Image) -> None:
        """Go on drawing upon this image, which has the supersampled size."""
        self.image = image
        # Mode RGBA on an RGB image blends transparent paint into what is already there.
        self.draw = ImageDraw.Draw(image, "RGBA")

    def _pixels(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self.scale, y * self.scale) for x, y in points]

    def polygon(self, points: Sequence[Point], paint: Paint) -> None:
        self.draw.polygon(self._pixels(points), fill=paint)

    def rectangle(self, left: float, top: float, right: float, bottom: float, paint: Paint) -> None:
        if right > left and bottom > top:
            self.draw.rectangle(self._pixels([(left, top), (right, bottom)]), fill=paint)

    def ellipse(self, x: float, y: float, rx: float, ry: float, paint: Paint) -> None:
        self.draw.ellipse(self._pixels([(x - rx, y - ry), (x + rx, y + ry)]), fill=paint)

    def circle(self, x: float, y: float, radius: float, paint: Paint) -> None:
        self.ellipse(x, y, radius, radius, paint)

    def dome(self, x: float, y: float, rx: float, ry: float, paint: Paint) -> None:
        """The upper half of an ellipse whose flat side lies at y."""
        box = self._pixels([(x - rx, y - ry), (x + rx, y + ry)])
        self.draw.pieslice(box, 180, 360, fill=paint)

    def line(self, points: Sequence[Point], width: float, paint: Paint) -> None:
        pixels = max(1, round(width * self.scale))
        self.draw.line(self._pixels(points), fill=paint, width=pixels, joint="curve")

    def finish(self) -> Image.Image:
        return self.image.reduce(SUPERSAMPLING)
