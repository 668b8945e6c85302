"""The light of each time of day: the sky's colours, and what they do to everything below it."""

from dataclasses import dataclass

from tinyflux.canvas import Colour, mix


@dataclass(frozen=True)
class Light:
    sky: tuple[Colour, ...]  # from the zenith to the horizon, evenly spread
    haze: Colour  # what distance fades into
    thickness: float  # how quickly it does so
    tint: tuple[float, float, float]
    glow: Colour  # the sun's disc, the moon's, or lightning
    cloud: Colour
    lamps: bool = False  # windows are lit

    def shade(self, colour: Colour, distance: float = 0.0) -> Colour:
        """What a thing of this colour looks like in this light, at a distance from 0 to 1."""
        lit = tuple(
            min(255, round(part * factor)) for part, factor in zip(colour, self.tint, strict=True)
        )
        return mix((lit[0], lit[1], lit[2]), self.haze, min(1.0, distance * self.thickness))


LIGHTS = {
    "sunset": Light(
        sky=((49, 27, 94), (142, 45, 117), (236, 87, 84), (255, 168, 84), (255, 214, 120)),
        haze=(240, 116, 96),
        thickness=0.8,
        tint=(0.78, 0.52, 0.6),
        glow=(255, 236, 168),
        cloud=(255, 142, 122),
        lamps=True,
    ),
    "sunrise": Light(
        sky=((104, 162, 226), (164, 196, 234), (244, 204, 212), (255, 220, 184), (255, 238, 190)),
        haze=(250, 208, 196),
        thickness=0.85,
        tint=(0.96, 0.84, 0.86),
        glow=(255, 250, 214),
        cloud=(255, 234, 226),
    ),
    "day": Light(
        sky=((38, 132, 232), (94, 178, 246), (160, 216, 252), (212, 240, 254)),
        haze=(176, 216, 246),
        thickness=0.75,
        tint=(1.0, 1.0, 1.0),
        glow=(255, 226, 92),
        cloud=(255, 255, 255),
    ),
    "night": Light(
        sky=((9, 12, 44), (18, 26, 78), (34, 48, 116), (62, 80, 156)),
        haze=(48, 64, 138),
        thickness=0.75,
        tint=(0.42, 0.46, 0.72),
        glow=(252, 246, 214),
        cloud=(58, 72, 136),
        lamps=True,
    ),
    "storm": Light(
        sky=((36, 42, 54), (58, 68, 82), (88, 102, 114), (136, 148, 152)),
        haze=(104, 118, 126),
        thickness=0.8,
        tint=(0.62, 0.66, 0.7),
        glow=(255, 244, 170),
        cloud=(50, 57, 70),
        lamps=True,
    ),
    "snow": Light(
        sky=((142, 168, 204), (176, 198, 224), (206, 220, 236), (230, 238, 246)),
        haze=(212, 224, 238),
        thickness=0.85,
        tint=(0.9, 0.93, 0.98),
        glow=(255, 250, 236),
        cloud=(236, 242, 248),
    ),
    "fog": Light(
        sky=((178, 190, 196), (196, 205, 208), (213, 219, 219), (226, 229, 226)),
        haze=(214, 220, 219),
        thickness=1.1,
        tint=(0.86, 0.88, 0.88),
        glow=(250, 246, 228),
        cloud=(226, 230, 230),
    ),
}
