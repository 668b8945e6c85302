from __future__ import annotations

from pathlib import Path

import pytest

from fluxui.errors import IllegalTransition, QueueFull, StorageFull
from fluxui.estimate import Pace
from fluxui.generation import Generation
from fluxui.request import GenerationForm, LoraRef
from fluxui.settings import Settings
from fluxui.studio import Studio
from fluxui.visitor import Visitor
from fluxui.waiting import Pauses, ticket
from tests.conftest import FakePipeline, make_studio, paint, wait
from tests.disk import file_limit


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


def test_a_queue_that_is_held_back_stays_so_over_a_restart(
    settings: Settings, pipeline: FakePipeline
) -> None:
    studio = make_studio(settings, pipeline)
    guest = studio.serving(lambda: Visitor("guest:ann"))
    guest.pause(True)
    form = GenerationForm.parse({"prompt": "held", "num_inference_steps": 2})
    held = guest.submit(form)
    paint(studio)
    studio.close()
    again = make_studio(settings, pipeline)
    shown = again.progress(held.id)
    assert shown and shown.paused
    paint(again)
    again.serving(lambda: Visitor("guest:ann")).pause(False)
    wait(again, held.id)
    again.close()
    last = make_studio(settings, pipeline)
    assert wait(last, last.serving(lambda: Visitor("guest:ann")).submit(form).id)
    last.close()


def test_a_full_queue_ends_every_pause_for_good(settings: Settings, pipeline: FakePipeline) -> None:
    settings = settings.model_copy(update={"queue_size": 1})
    studio = make_studio(settings, pipeline)
    studio.pause(True)
    form = GenerationForm.parse({"prompt": "held", "num_inference_steps": 2})
    held = studio.submit(form)
    with pytest.raises(QueueFull):
        studio.submit(form)
    wait(studio, held.id)
    studio.close()
    assert Pauses(settings.data_dir).read() == []


def test_a_pause_that_cant_be_kept_is_none(studio: Studio, settings: Settings) -> None:
    studio.pause(True)
    with file_limit(0), pytest.raises(StorageFull):
        studio.pause(False)
    shown = studio.progress(studio.submit(GenerationForm(prompt="held")).id)
    assert shown and shown.paused
    assert Pauses(settings.data_dir).read() == [""]


@pytest.mark.parametrize("text", ["", "[", "7", "\x00"])
def test_a_spoiled_file_pauses_nobody(tmp_path: Path, text: str) -> None:
    pauses = Pauses(tmp_path)
    pauses.keep(["guest:ann"])
    assert Pauses(tmp_path).read() == ["guest:ann"]
    (tmp_path / "queue" / "paused.json").write_text(text)
    assert pauses.read() == []
