from __future__ import annotations

import time
from typing import Any

import pytest

from fluxui.generation import Generation
from fluxui.queue import Phase
from fluxui.request import GenerationForm
from fluxui.studio import Studio
from fluxui.visitor import Visitor
from tests.conftest import FakePipeline, paint, wait

ONCE = 0.01  # what FakePipeline says of each picture


def submit(studio: Studio, **values: Any) -> Generation:
    asked = {"prompt": "a red house by the sea", "num_inference_steps": 2, **values}
    return studio.submit(GenerationForm.parse(asked))


@pytest.fixture
def held(studio: Studio, pipeline: FakePipeline) -> Studio:
    """One was painted before, and the next one stands before its first step."""
    paint(studio)
    pipeline.gate.clear()
    first = submit(studio).id
    while not (progress := studio.progress(first)) or progress.phase is not Phase.painting:
        time.sleep(0.01)
    return studio


def test_before_the_first_picture_nobody_knows(studio: Studio, pipeline: FakePipeline) -> None:
    assert studio.seconds_left() == 0
    pipeline.gate.clear()
    submit(studio)
    assert studio.seconds_left() is None
    assert [one.seconds_left for one in studio.queue()] == [None]


def test_each_waits_for_those_before_it(held: Studio) -> None:
    submit(held, num_images=3)
    last = submit(held)
    seconds = [one.seconds_left for one in held.queue()]
    assert seconds == pytest.approx([ONCE, 4 * ONCE, 5 * ONCE])
    assert held.seconds_left() == pytest.approx(5 * ONCE)
    assert held.moment(last.id).seconds_left == pytest.approx(5 * ONCE)
    assert held.system().queue.seconds_left == pytest.approx(5 * ONCE)


def test_what_is_held_back_has_no_end_and_delays_nobody(held: Studio) -> None:
    guest = held.serving(lambda: Visitor("guest"))
    theirs = submit(guest, num_images=2)
    guest.pause(True)
    mine = submit(held)
    assert held.moment(theirs.id).seconds_left is None
    assert held.moment(mine.id).seconds_left == pytest.approx(2 * ONCE)
    assert held.seconds_left() == pytest.approx(2 * ONCE)
    assert (guest.paused(), held.paused()) == (True, False)


def test_one_sees_ones_own_of_the_queue(held: Studio) -> None:
    guest = held.serving(lambda: Visitor("guest"))
    theirs, mine = submit(guest), submit(held)
    assert [one.generation.id for one in guest.queue()] == [theirs.id]
    assert (guest.waiting(), held.waiting()) == ([theirs.id], [mine.id])
    assert len(held.queue()) == 3
    assert guest.seconds_left() == held.seconds_left(), "the time is that of all"


def test_the_time_comes_true(studio: Studio, pipeline: FakePipeline) -> None:
    """Told before, against the clock: three at the pace of the one before them."""
    pipeline.step_seconds = 0.1
    pipeline.measures = True
    paint(studio, num_inference_steps=5)
    pipeline.gate.clear()
    jobs = [submit(studio, num_inference_steps=5) for _ in range(3)]
    told = studio.seconds_left()
    began = time.monotonic()
    pipeline.gate.set()
    for job in jobs:
        wait(studio, job.id)
    assert told == pytest.approx(time.monotonic() - began, rel=0.35)
