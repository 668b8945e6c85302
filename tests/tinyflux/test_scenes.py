from dataclasses import replace
from random import Random

import numpy as np
import pytest

from tinyflux.lands import LANDS
from tinyflux.scenes import TIMES, WATERS, Scene, picture, random_scene
from tinyflux.things import COLOURS, THINGS


def pixels(scene: Scene, width: int = 64, height: int = 64) -> np.ndarray:
    return np.asarray(picture(scene, width, height), np.int16)


def test_a_scene_and_a_size_give_one_picture() -> None:
    scene = random_scene(Random(5))
    assert scene == random_scene(Random(5))
    assert np.array_equal(pixels(scene), pixels(scene))
    assert not np.array_equal(pixels(scene), pixels(replace(scene, seed=scene.seed + 1)))


@pytest.mark.parametrize("size", [(128, 128), (256, 256), (384, 256), (256, 384), (384, 384)])
def test_the_picture_has_the_size_that_was_asked_for(size: tuple[int, int]) -> None:
    assert picture(random_scene(Random(1)), *size).size == size


@pytest.mark.parametrize("land", LANDS)
def test_every_land_is_drawn_in_every_light(land: str) -> None:
    views = [pixels(Scene(time, land, seed=3)) for time in TIMES]
    for index, view in enumerate(views):
        assert view.std() > 5
        assert all(np.abs(view - other).mean() > 5 for other in views[:index])


@pytest.mark.parametrize("thing", THINGS)
def test_a_thing_stands_where_and_in_the_colour_that_the_scene_says(thing: str) -> None:
    bare = Scene("day", "sea", seed=9)
    columns = np.arange(64)
    centres = []
    for position in ("left", "centre", "right"):
        scene = replace(bare, thing=thing, colour="red", count=1, position=position)
        change = np.abs(pixels(scene) - pixels(bare)).sum(axis=(0, 2))
        centres.append((change * columns).sum() / change.sum() / 64)
    assert centres[0] < 0.38 < centres[1] < 0.62 < centres[2]
    scene = replace(bare, thing=thing, count=1, position="centre")
    views = [pixels(replace(scene, colour=colour)) for colour in COLOURS]
    for index, view in enumerate(views):
        assert all(np.abs(view - other).max() > 20 for other in views[:index])


def test_scenes_drawn_by_lot_are_possible_ones() -> None:
    rng = Random(0)
    for _ in range(500):
        scene = random_scene(rng)
        assert scene.thing != "boat" or scene.land in WATERS
        assert not (scene.sun and scene.time == "night") and not (
            scene.moon and scene.time != "night"
        )
        assert (scene.position is None) == (scene.count != 1)
        assert (scene.thing is None) == (scene.colour is None) == (scene.count == 0)


def test_small_things_are_wide_enough_to_survive() -> None:
    """A star is at least three pixels wide at 256: anything smaller no VAE of this size keeps."""
    scene = Scene("night", "sea", stars=True, seed=4)
    dark = Scene("night", "sea", seed=4)
    bright = np.abs(pixels(scene, 256, 256) - pixels(dark, 256, 256)).sum(axis=-1)[:120] > 60
    runs = [len(run) for row in bright for run in "".join("#" if on else " " for on in row).split()]
    assert runs and np.median(runs) >= 3
