from __future__ import annotations

import asyncio
import threading

import pytest

from fluxui.errors import Restarting
from fluxui.generation import Status
from fluxui.request import GenerationForm
from fluxui.settings import Settings
from fluxui.studio import Studio
from fluxui.watch import Moment
from tests.conftest import FakePipeline, make_studio, paint, wait

SLOW = GenerationForm(prompt="slow", num_inference_steps=40)


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
