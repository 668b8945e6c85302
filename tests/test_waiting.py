from __future__ import annotations

import pytest

from fluxui.errors import IllegalTransition
from fluxui.estimate import Pace
from fluxui.generation import Generation
from fluxui.request import GenerationForm, LoraRef
from fluxui.studio import Studio
from fluxui.waiting import ticket
from tests.conftest import FakePipeline, paint, wait


def test_a_ticket_tells_what_must_be_merged_and_how_long_it_takes(studio: Studio) -> None:
    done = paint(studio)
    loras = (LoraRef(model_id="x", weight=0.5), LoraRef(model_id="y", weight=1))
    asked = Generation(
        request=done.request.model_copy(update={"loras": loras, "num_images": 2}),
        base_model=done.base_model,
        painted="",
    )
    made = ticket(asked, Pace([done]))
    assert (made.job_id, made.loras) == (asked.id, ("x:0.5", "y:1.0"))
    assert made.seconds == 2 * (done.seconds or 0)
    assert ticket(asked, Pace([])).seconds is None


def test_ones_own_queue_can_be_held_back_and_put_in_order(
    studio: Studio, pipeline: FakePipeline
) -> None:
    studio.pause(True)
    form = GenerationForm.parse({"prompt": "first", "num_inference_steps": 2})
    ids = [studio.submit(form).id for _ in range(3)]
    assert [one.id for one in studio.jobs()] == ids
    studio.move_up(ids[2])
    assert [one.id for one in studio.jobs()] == [ids[2], *ids[:2]]
    assert all(shown and shown.paused for shown in map(studio.progress, ids))
    studio.pause(False)
    ended = [wait(studio, job_id) for job_id in ids]
    assert ended[2].started_at < ended[0].started_at < ended[1].started_at  # type: ignore[operator]
    with pytest.raises(IllegalTransition, match="wait"):
        studio.move_up(ids[0])
