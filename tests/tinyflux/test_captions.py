from random import Random

from tinyflux.captions import (
    COLOURS,
    COUNTS,
    LANDS,
    POSITIONS,
    SKY,
    THINGS,
    TIMES,
    called,
    caption,
)
from tinyflux.scenes import Scene, random_scene


def mentions(text: str, words: tuple[str, ...]) -> bool:
    return any(word.lower() in text.lower() for word in words)


def words_for(scene: Scene, claim: str) -> tuple[str, ...]:
    tables = {
        "time": TIMES,
        "land": LANDS,
        "thing": THINGS,
        "colour": COLOURS,
        "position": POSITIONS,
        "count": COUNTS,
    }
    return tables[claim][getattr(scene, claim)] if claim in tables else SKY[claim]


def test_a_caption_mentions_all_that_it_claims() -> None:
    rng = Random(2)
    for _ in range(1000):
        scene = random_scene(rng)
        told = caption(scene, rng)
        for claim in told.claims:
            assert mentions(told.text, words_for(scene, claim)), (told, scene)


def test_a_caption_that_drops_nothing_claims_every_fact() -> None:
    scene = Scene("night", "hills", "house", "red", "left", 1, moon=True, stars=True)
    told = caption(scene, Random(1), dropout=0.0, noise=0.0)
    assert {"time", "land", "thing", "moon", "stars"} <= told.claims


def test_details_are_left_out_and_the_wording_varies() -> None:
    scene = Scene("day", "lake", "boat", "blue", "right", 1, sun=True)
    told = [caption(scene, Random(seed)) for seed in range(200)]
    assert len({each.text for each in told}) > 150
    assert any("time" not in each.claims for each in told)


def test_what_no_word_tells_a_place_is_in_the_middle() -> None:
    for position in POSITIONS:
        scene = Scene("day", "lake", "boat", "blue", position, 1)
        told = [caption(scene, Random(seed), dropout=0.0).claims for seed in range(200)]
        without = sum("position" not in claims for claims in told)
        assert 100 < without < 140 if position == "centre" else without == 0


def test_the_same_lot_tells_the_same_words() -> None:
    scene = random_scene(Random(8))
    assert caption(scene, Random(3)) == caption(scene, Random(3))


def test_a_scene_without_a_thing_tells_of_none() -> None:
    scene = Scene("fog", "sea")
    for seed in range(50):
        assert not caption(scene, Random(seed)).claims & {"thing", "colour", "position", "count"}


def test_a_trigger_word_comes_before_or_behind_the_prompt() -> None:
    told = {called("a red boat", "TOK", Random(lot)) for lot in range(20)}
    assert told == {"TOK, a red boat", "a red boat, TOK"}
    assert called("", "TOK", Random(0)) == "TOK"
