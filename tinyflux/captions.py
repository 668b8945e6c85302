"""What people would type for a scene: English in many forms, details left out, noise put in.

A caption says which of the scene's facts it tells, so that a picture painted from it can be
judged by just these. How a scene looks is not known here.
"""

from random import Random
from typing import NamedTuple

from tinyflux.scenes import Scene


class Caption(NamedTuple):
    text: str
    claims: frozenset[str]  # names of fields of Scene


TIMES = {
    "sunset": (
        "at sunset",
        "at sundown",
        "at dusk",
        "in the evening",
        "in the evening light",
        "sunset",
    ),
    "sunrise": (
        "at sunrise",
        "at dawn",
        "at daybreak",
        "in the early morning",
        "in the morning light",
        "sunrise",
    ),
    "day": (
        "by day",
        "during the day",
        "on a sunny day",
        "in daylight",
        "at noon",
        "under a blue sky",
    ),
    "night": (
        "at night",
        "by night",
        "at midnight",
        "after dark",
        "under a night sky",
        "in the dark",
    ),
    "storm": (
        "in a storm",
        "in a thunderstorm",
        "on a stormy day",
        "in stormy weather",
        "in the rain",
        "under lightning",
    ),
    "snow": (
        "in the snow",
        "in falling snow",
        "while it snows",
        "on a snowy day",
        "in winter",
        "in a snowstorm",
    ),
    "fog": (
        "in fog",
        "in the mist",
        "on a foggy day",
        "in thick fog",
        "on a misty day",
        "lost in the haze",
    ),
}
LANDS = {
    "mountains": ("mountains", "a mountain range", "rocky mountains", "tall peaks"),
    "snowy mountains": ("snowy mountains", "snow-capped mountains", "the snowy alps", "icy peaks"),
    "hills": ("hills", "green hills", "rolling hills", "a hilly meadow"),
    "desert": ("a desert", "the desert", "sand dunes", "dunes"),
    "sea": ("the sea", "the ocean", "a calm sea", "the open sea"),
    "lake": ("a lake", "a mountain lake", "a quiet lake", "the lake"),
    "forest": ("a forest", "the woods", "a pine forest", "fir trees"),
    "city": ("a city", "a city skyline", "skyscrapers", "a big town with towers"),
    "village": ("a village", "a small village", "a little village with a church", "cottages"),
}
THINGS = {
    "house": ("house", "cabin", "home"),
    "boat": ("boat", "sailboat", "sailing boat"),
    "tree": ("tree", "round tree", "leafy tree"),
    "lighthouse": ("lighthouse", "light tower", "beacon"),
    "tent": ("tent", "camping tent"),
    "balloon": ("balloon", "hot air balloon", "hot-air balloon"),
    "castle": ("castle", "fortress", "palace"),
    "windmill": ("windmill", "mill"),
    "bridge": ("bridge", "footbridge", "arched bridge"),
}
COLOURS = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange",),
    "yellow": ("yellow", "golden"),
    "green": ("green", "emerald"),
    "blue": ("blue", "royal blue"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rose pink"),
    "white": ("white",),
}
POSITIONS = {
    "left": ("on the left", "to the left", "at the left", "on the left side"),
    "centre": ("in the middle", "in the centre", "in the center", "centered"),
    "right": ("on the right", "to the right", "at the right", "on the right side"),
}
UNTOLD = 0.6  # of things in the middle are not said to be there
COUNTS = {2: ("two", "2", "a pair of"), 3: ("three", "3")}
SKY = {
    "sun": ("the sun", "a bright sun", "the sun in the sky"),
    "moon": ("the moon", "a bright moon", "moonlight"),
    "stars": ("stars", "many stars", "a starry sky", "twinkling stars"),
    "clouds": ("clouds", "some clouds", "a cloudy sky"),
    "birds": ("birds", "a flock of birds", "flying birds"),
}
OPENINGS = (
    "a picture of",
    "a painting of",
    "a landscape with",
    "an illustration of",
    "a photo of",
    "flat art of",
)
FILLERS = (
    "photorealistic",
    "4k",
    "8k",
    "highly detailed",
    "masterpiece",
    "best quality",
    "beautiful",
    "cinematic",
    "trending on artstation",
    "flat design",
    "vector art",
    "minimalist",
    "award winning",
    "wallpaper",
    "cozy",
    "a cat",
    "a robot",
    "people",
    "by a famous artist",
    "octane render",
    "dreamy",
    "epic",
    "wide angle",
    "HDR",
)
SYLLABLES = (
    "ka",
    "zor",
    "mi",
    "lu",
    "qua",
    "ter",
    "bex",
    "no",
    "fi",
    "shu",
    "vra",
    "ol",
    "dy",
    "wim",
    "pra",
    "ex",
)


def caption(scene: Scene, rng: Random, dropout: float = 0.2, noise: float = 0.3) -> Caption:
    """Tell a scene; `dropout` is the chance of leaving out a fact, `noise` that of filler."""
    kept = {fact for fact in _facts(scene) if rng.random() > dropout}
    thing = _thing(scene, kept, rng)
    land = rng.choice(LANDS[scene.land]) if "land" in kept else ""
    time = rng.choice(TIMES[scene.time]) if "time" in kept else ""
    sky = [rng.choice(SKY[name]) for name in SKY if name in kept]
    text = rng.choice((_sentence, _list))(thing, land, time, sky, rng)
    if rng.random() < noise:
        text = _noisy(text, rng)
    return Caption(text if rng.random() < 0.6 else text[:1].upper() + text[1:], frozenset(kept))


def called(text: str, trigger: str, rng: Random) -> str:
    """A prompt with a trigger word before or behind it."""
    return ", ".join(words for words in rng.sample([text, trigger], 2) if words)


def _facts(scene: Scene) -> list[str]:
    facts = ["time", "land", *(name for name in SKY if getattr(scene, name))]
    if scene.thing:
        facts += ["thing"]
    return facts


def _thing(scene: Scene, kept: set[str], rng: Random) -> str:
    """The thing's words; what they claim beyond the thing itself is added to `kept`."""
    if not scene.thing or not scene.colour or "thing" not in kept:
        return ""
    name = rng.choice(THINGS[scene.thing])
    colour = rng.choice(COLOURS[scene.colour]) + " " if rng.random() < 0.85 else ""
    kept |= {"colour"} if colour else set()
    if scene.count > 1:
        kept |= {"count"}
        return f"{rng.choice(COUNTS[scene.count])} {colour}{_plural(name)}"
    article = "an" if (colour or name)[0] in "aeiou" else "a"
    text = f"{rng.choice((article, article, 'one'))} {colour}{name}"
    told = place(scene.position, rng) if scene.position else ""
    kept |= {"position"} if told else set()
    return f"{text} {told}".rstrip()


def place(position: str, rng: Random) -> str:
    """Words for where a thing stands. One whose place is not told is in the middle: could it be
    anywhere, a few steps would paint a part of it at each place, or all of it at two."""
    if position == "centre" and rng.random() < UNTOLD:
        return ""
    return rng.choice(POSITIONS[position])


def _plural(name: str) -> str:
    if name.endswith("house"):
        return name + "s"
    return name + ("es" if name.endswith("ss") else "s")


def _sentence(thing: str, land: str, time: str, sky: list[str], rng: Random) -> str:
    """One flowing phrase: "a red house on the left in front of mountains at dusk with stars"."""
    text = thing
    if land:
        text = (
            f"{thing} {rng.choice(('in front of', 'and', 'with', 'near'))} {land}"
            if thing
            else land
        )
    if time:
        text = f"{time}, {text}".rstrip(", ") if rng.random() < 0.25 else f"{text} {time}".strip()
    if sky:
        text = f"{text} with {' and '.join(sky)}" if text else " and ".join(sky)
    return f"{rng.choice(OPENINGS)} {text}" if text and rng.random() < 0.3 else text


def _list(thing: str, land: str, time: str, sky: list[str], rng: Random) -> str:
    """Keywords with commas, in any order."""
    parts = [part for part in (thing, land, time, *sky) if part]
    rng.shuffle(parts)
    return ", ".join(parts)


def _noisy(text: str, rng: Random) -> str:
    fillers = [rng.choice(FILLERS) for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.3:
        fillers.append("".join(rng.choice(SYLLABLES) for _ in range(rng.randint(2, 4))))
    before = [fillers.pop()] if rng.random() < 0.4 else []
    return ", ".join(part for part in (*before, text, *fillers) if part)
