from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fluxui.errors import (
    GenerationNotFound,
    IdempotencyConflict,
    IllegalTransition,
    InvalidRequest,
    LoraNotFound,
    OutOfMemory,
    QueueFull,
)
from fluxui.generation import Generation, Status
from fluxui.history import Query
from fluxui.history.tiny import TinyHistory
from fluxui.images import read_settings
from fluxui.pipeline import Painting
from fluxui.queue import Phase
from fluxui.request import GenerationForm
from fluxui.settings import Settings
from fluxui.storage import folder_of, record_key
from fluxui.storage.local import LocalStorage
from fluxui.studio import Studio
from fluxui.watch import Moment
from fluxui.worker import LIBRARIES
from tests.conftest import FakePipeline, make_studio, paint, wait


def form(prompt: str = "a red house", **values: object) -> GenerationForm:
    return GenerationForm.parse({"prompt": prompt, "num_inference_steps": 2, **values})


def running(studio: Studio, job_id: str) -> None:
    until = time.monotonic() + 10
    while not (seen := studio.progress(job_id)) or seen.phase is not Phase.painting:
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_request_becomes_pictures_bytes_and_a_record(studio: Studio, settings: Settings) -> None:
    done = paint(studio, num_images=2, seed=7)
    assert done.status is Status.completed and done.error is None
    assert [image.seed for image in done.images] == [7, 8]
    for image in done.images:
        assert len((settings.data_dir / image.key).read_bytes()) == image.bytes
        assert (settings.data_dir / image.thumb_key).stat().st_size > 0
    record = json.loads((settings.data_dir / record_key(done)).read_text())
    assert Generation.model_validate(record) == done
    assert done.seconds is not None and done.seconds > 0


def test_what_made_a_picture_differ_stands_in_record_and_png(
    studio: Studio, settings: Settings, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = paint(studio)
    assert plain.shortcuts == ()
    assert plain.machine["device"] == "none" and set(plain.machine) > set(LIBRARIES)
    assert "shortcuts" not in read_settings((settings.data_dir / plain.images[0].key).read_bytes())
    real = pipeline.paint

    def rounded(*given: Any, **named: Any) -> Painting:
        return replace(real(*given, **named), shortcuts=("fp8 weights", "step cache"))

    monkeypatch.setattr(pipeline, "paint", rounded)
    done = paint(studio)
    assert done.shortcuts == ("fp8 weights", "step cache")
    record = json.loads((settings.data_dir / record_key(done)).read_text())
    assert record["shortcuts"] == ["fp8 weights", "step cache"]
    png = (settings.data_dir / done.images[0].key).read_bytes()
    assert read_settings(png)["shortcuts"] == ["fp8 weights", "step cache"]


def test_the_same_request_gives_the_same_bytes(studio: Studio) -> None:
    first, second = paint(studio, seed=3), paint(studio, seed=3)
    other = paint(studio, seed=4)
    assert first.images[0].key != second.images[0].key

    def pixels(one: Generation) -> bytes:
        from PIL import Image

        with studio.pictures.open(studio.pictures.image(one.id, 1)) as stream:
            return Image.open(stream).convert("RGB").tobytes()

    assert pixels(first) == pixels(second) != pixels(other)


def test_what_is_refused_leaves_nothing(studio: Studio, settings: Settings) -> None:
    with pytest.raises(InvalidRequest):
        studio.submit(form(width=130))
    with pytest.raises(LoraNotFound):
        studio.submit(form(model_id="../../etc/passwd"))
    assert studio.pictures.page().total == 0 and studio.jobs() == []
    assert not (settings.data_dir / "generated").exists()


def test_a_full_queue_keeps_nothing_of_the_refused_one(
    settings: Settings, pipeline: FakePipeline
) -> None:
    small = settings.model_copy(update={"queue_size": 1})
    studio = make_studio(small, pipeline)
    pipeline.gate.clear()
    first = studio.submit(form())
    running(studio, first.id)
    second = studio.submit(form())
    with pytest.raises(QueueFull):
        studio.submit(form())
    assert studio.pictures.page().total == 2
    assert [one.id for one in studio.jobs()] == [first.id, second.id]
    pipeline.gate.set()
    assert wait(studio, second.id).status is Status.completed
    studio.close()


def test_an_idempotency_key_makes_one_job_even_at_the_same_moment(studio: Studio) -> None:
    with ThreadPoolExecutor(8) as pool:
        ids = {one.id for one in pool.map(lambda _: studio.submit(form(), "key-1"), range(16))}
    assert len(ids) == 1 and studio.pictures.page().total == 1
    with pytest.raises(IdempotencyConflict):
        studio.submit(form("another prompt"), "key-1")
    assert studio.submit(form(), "key-2").id not in ids


def test_cancel_of_a_waiting_one_takes_it_out(studio: Studio, pipeline: FakePipeline) -> None:
    pipeline.gate.clear()
    first, second = studio.submit(form()), studio.submit(form("waits"))
    running(studio, first.id)
    cancelled = studio.cancel(second.id)
    assert cancelled.status is Status.cancelled and cancelled.stopped_at is None
    pipeline.gate.set()
    assert wait(studio, first.id).status is Status.completed
    assert "waits" not in pipeline.painted


def test_cancel_of_a_running_one_says_at_which_step(studio: Studio, pipeline: FakePipeline) -> None:
    pipeline.step_seconds = 0.05
    one = studio.submit(form(num_inference_steps=40))
    running(studio, one.id)
    cancelled = studio.cancel(one.id)
    assert cancelled.status is Status.cancelled
    assert cancelled.stopped_at is not None and cancelled.stopped_at < 40
    assert not cancelled.images and pipeline.painted == []
    with pytest.raises(IllegalTransition, match="cancelled before"):
        studio.cancel(one.id)


def test_cancel_of_a_finished_one_is_too_late(studio: Studio) -> None:
    done = paint(studio)
    with pytest.raises(IllegalTransition, match="already completed"):
        studio.cancel(done.id)
    with pytest.raises(GenerationNotFound):
        studio.cancel("unknown")


def test_a_failure_hurts_one_generation_and_can_be_retried(
    studio: Studio, pipeline: FakePipeline
) -> None:
    pipeline.error = OutOfMemory("Out of memory at step 1.")
    failed = paint(studio, seed=5)
    assert failed.status is Status.failed
    assert failed.error is not None and failed.error.code == "out_of_memory"
    pipeline.error = None
    again = wait(studio, studio.retry(failed.id).id)
    assert again.status is Status.completed and again.request == failed.request
    with pytest.raises(IllegalTransition):
        studio.retry(again.id)


def test_an_accident_is_told_without_its_inside(studio: Studio, pipeline: FakePipeline) -> None:
    pipeline.error = RuntimeError("secret /home/me/.cache")
    failed = paint(studio)
    assert failed.error is not None and failed.error.code == "internal_error"
    assert "secret" not in failed.error.message
    pipeline.error = None
    assert paint(studio).status is Status.completed


def test_a_watcher_sees_the_steps_and_the_end(studio: Studio, pipeline: FakePipeline) -> None:
    pipeline.step_seconds = 0.2
    one = studio.submit(form(num_inference_steps=4))

    async def moments() -> list[Moment]:
        return [moment async for moment in studio.watch(one.id)]

    seen = asyncio.run(moments())
    assert seen[-1].generation.status is Status.completed
    steps = [moment.progress.step for moment in seen if moment.progress]
    assert steps == sorted(steps) and len(set(steps)) >= 3


def test_the_estimate_comes_from_what_was_painted(studio: Studio) -> None:
    assert studio.estimate(form()) is None
    paint(studio)
    once = studio.estimate(form())
    assert once == pytest.approx(0.01, rel=0.2)
    assert studio.estimate(form(num_images=4)) == pytest.approx(4 * (once or 0))


def test_delete_goes_to_the_trash_and_comes_back(studio: Studio, settings: Settings) -> None:
    done = paint(studio)
    before = (settings.data_dir / done.images[0].key).read_bytes()
    studio.delete(done.id)
    with pytest.raises(GenerationNotFound):
        studio.get(done.id)
    assert studio.pictures.gallery().cards == []
    assert list(LocalStorage(settings.data_dir).list(folder_of(done))) == []
    assert studio.pictures.restore(done.id) == done == studio.get(done.id)
    assert (settings.data_dir / done.images[0].key).read_bytes() == before
    with pytest.raises(GenerationNotFound):
        studio.pictures.restore(done.id)


def test_delete_of_a_running_one_stops_it(studio: Studio, pipeline: FakePipeline) -> None:
    pipeline.step_seconds = 0.05
    one = studio.submit(form(num_inference_steps=40))
    running(studio, one.id)
    studio.delete(one.id)
    assert pipeline.painted == [] and studio.pictures.page().total == 0


def test_the_gallery_shows_whole_generations_newest_first(studio: Studio) -> None:
    ids = [paint(studio, f"picture {n}", num_images=4).id for n in range(13)]
    first = studio.pictures.gallery()
    assert first.total == 52 and len(first.cards) == 48
    assert [card.generation.id for card in first.cards[::4]] == ids[:0:-1]
    second = studio.pictures.gallery(cursor=first.cursor)
    assert [card.generation.id for card in second.cards] == [ids[0]] * 4
    assert second.cursor == ""
    assert first.cards[0].url == f"api/images/{ids[-1]}/1"
    found = studio.pictures.gallery(Query(words="PICTURE 7"))
    assert {card.generation.id for card in found.cards} == {ids[7]}


def test_everything_is_there_after_a_restart(settings: Settings, pipeline: FakePipeline) -> None:
    studio = make_studio(settings, pipeline)
    done = paint(studio)
    studio.close()
    again = make_studio(settings, pipeline)
    assert again.get(done.id) == done
    assert [card.generation.id for card in again.pictures.gallery().cards] == [done.id]
    again.close()


def test_a_restart_in_the_middle_is_no_failed_attempt(
    settings: Settings, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxui.queue.local.GRACE_SECONDS", 0)
    pipeline.step_seconds = 0.05
    studio = make_studio(settings, pipeline)
    one = studio.submit(form(num_inference_steps=100))
    running(studio, one.id)
    studio.close()
    assert pipeline.painted == []

    pipeline.step_seconds = 0
    again = make_studio(settings, pipeline)
    done = wait(again, one.id)
    assert (done.status, done.attempts) == (Status.completed, 1)
    again.close()


def test_work_that_a_dead_process_left_is_taken_up_once_more(
    settings: Settings, pipeline: FakePipeline, tmp_path: Path
) -> None:
    studio = make_studio(settings, pipeline)
    pipeline.gate.clear()
    first, second = studio.submit(form("first")), studio.submit(form("second"))
    running(studio, first.id)
    studio.close = threading.Event().wait  # type: ignore[method-assign]
    left = [studio.get(first.id), studio.get(second.id)]
    assert [one.status for one in left] == [Status.running, Status.queued]

    # What a fresh process finds: the same records, in a folder that nobody holds.
    fresh = settings.model_copy(update={"data_dir": tmp_path / "fresh"})
    fresh.data_dir.mkdir()
    twice = left[0].model_copy(update={"id": "twice", "attempts": 2})
    history = TinyHistory(fresh.data_dir / "history.json")
    for one in [*left, twice]:
        history.add(one)
    history.close()
    pipeline.gate.set()
    again = make_studio(fresh, FakePipeline(fresh))
    assert wait(again, first.id).attempts == 2
    assert wait(again, second.id).status is Status.completed
    lost = again.get("twice")
    assert lost.status is Status.failed
    assert lost.error is not None and lost.error.code == "worker_lost"
    again.close()


def test_system_tells_plain_facts(studio: Studio) -> None:
    paint(studio, num_images=2)
    system = studio.system()
    assert system.pictures == 2 and system.base_model == "tiny"
    assert system.storage.kind == "folder" and system.storage.disk_free > 0
    assert (system.queue.running, system.queue.waiting) == (0, 0)
    assert system.versions["gradio"].startswith("6.")
