from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from fluxui.errors import Restarting
from fluxui.generation import Generation, Status
from fluxui.queue import Hand, Phase
from fluxui.request import GenerationForm
from fluxui.settings import Settings
from fluxui.studio import Studio
from fluxui.visitor import Visitor
from fluxui.watch import Moment
from tests.conftest import FakePipeline, make_studio, paint, wait

SLOW = GenerationForm(prompt="slow", num_inference_steps=40)
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


def test_two_workers_need_half_the_time(held: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    crew = [Hand("one", "gpu", 1), Hand("two", "gpu", 0)]
    monkeypatch.setattr(held._queue, "crew", lambda: crew)
    for images in (3, 1, 1):
        submit(held, num_images=images)
    seconds = [one.seconds_left for one in held.queue()]
    assert seconds == pytest.approx([ONCE, 3 * ONCE, 2 * ONCE, 3 * ONCE])
    assert held.seconds_left() == pytest.approx(3 * ONCE)


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


async def follow(studio: Studio, job_id: str) -> list[Moment]:
    return [moment async for moment in studio.watch(job_id)]


def test_who_watches_a_process_that_ends_is_told_so(
    studio: Studio, settings: Settings, pipeline: FakePipeline
) -> None:
    done = paint(studio)
    pipeline.gate.clear()
    running, waiting = studio.submit(SLOW), studio.submit(SLOW)
    for watched in (running, waiting):
        threading.Timer(0.1, studio.leave).start()
        with pytest.raises(Restarting, match=f"{watched.id} is kept"):
            asyncio.run(follow(studio, watched.id))
    assert asyncio.run(follow(studio, done.id))[-1].generation == done  # that is the truth
    assert studio.leave() == 0
    assert not studio.get(running.id).status.ended


def test_a_process_that_ends_takes_nothing_in_and_changes_nothing(
    settings: Settings, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxui.queue.local.GRACE_SECONDS", 0.1)
    studio = make_studio(settings, pipeline)
    pipeline.step_seconds = 0.05
    one = studio.submit(SLOW)
    studio.leave()
    with pytest.raises(Restarting) as refused:
        studio.submit(SLOW)
    assert (refused.value.status, refused.value.retry_after) == (503, 10)
    with pytest.raises(Restarting, match="Nothing was changed"):
        studio.cancel(one.id)
    studio.close()
    pipeline.step_seconds = 0.0
    again = make_studio(settings, pipeline)
    assert wait(again, one.id).status is Status.completed
    assert again.pictures.page().total == 1
    again.close()
