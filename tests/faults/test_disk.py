"""A disk that takes nothing: refused in a sentence, nothing accepted is lost, and it goes on by
itself when there is room again."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from fluxui.api import build_api
from fluxui.errors import HistoryReadOnly, StorageFull
from fluxui.gate import Gate
from fluxui.generation import Generation, Status
from fluxui.pipeline import Painting
from fluxui.queue import Phase
from fluxui.request import GenerationForm
from fluxui.settings import Settings
from fluxui.storage.local import LocalStorage
from fluxui.studio import Studio
from tests.conftest import FakePipeline, make_studio, paint, wait
from tests.disk import file_limit

ROOM = 100_000  # for any history here, and for none of the pictures


class NoisyPipeline(FakePipeline):
    """Its pictures are large files."""

    def paint(self, prompt: str, **rest: Any) -> Painting:
        painting = super().paint(prompt, **rest)
        noise = os.urandom(len(painting.pixels))
        return Painting(noise, painting.width, painting.height, painting.layers, painting.seconds)


@pytest.fixture
def pipeline(settings: Settings) -> FakePipeline:
    return NoisyPipeline(settings)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxui.worker.ROOM_SECONDS", 0.02)


@contextmanager
def full(settings: Settings) -> Iterator[None]:
    with file_limit((settings.data_dir / "history.json").stat().st_size):
        yield


@contextmanager
def read_only(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """The system mounted the disk read-only under a program that runs, as after an I/O error."""
    opened = os.open

    def refuse(*arguments: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def open_to_read(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        ours = isinstance(path, str | os.PathLike) and str(path).startswith(str(folder))
        return (
            refuse()
            if ours and flags & (os.O_WRONLY | os.O_RDWR)
            else opened(path, flags, *rest, **more)
        )

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        patch.setattr(os, "open", open_to_read)
        yield


def submit(studio: Studio, count: int) -> list[Generation]:
    forms = [
        GenerationForm.parse({"prompt": f"picture {number}", "width": 256, "height": 256})
        for number in range(count)
    ]
    return [studio.submit(form) for form in forms]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_all_completed(studio: Studio, accepted: list[Generation], settings: Settings) -> None:
    for one in accepted:
        done = wait(studio, one.id)
        assert (done.status, done.attempts) == (Status.completed, 1), done.error
        assert (settings.data_dir / done.images[0].key).stat().st_size == done.images[0].bytes
    assert [one.id for one in studio.pictures.page().generations] == [
        one.id for one in reversed(accepted)
    ]


def test_a_full_disk_while_admitting(
    studio: Studio, settings: Settings, pipeline: FakePipeline
) -> None:
    pipeline.gate.clear()
    accepted = submit(studio, 3)
    with TestClient(Gate(build_api(studio), None, None)) as client:
        body = {"prompt": "one too many"}
        with full(settings):
            answer = client.post("/api/generate/image", json=body)
            assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
            assert answer.json()["message"] == "The disk is full: the history took no more."
            with pytest.raises(StorageFull):
                studio.cancel(accepted[2].id)
            assert studio.pictures.page().total == len(studio.jobs()) == 3
        assert client.post("/api/generate/image", json=body).status_code == 202
    pipeline.gate.set()
    assert_all_completed(
        studio, [*accepted, studio.pictures.page(limit=1).generations[0]], settings
    )


def test_a_full_disk_before_anything_runs(
    studio: Studio, settings: Settings, pipeline: FakePipeline
) -> None:
    pipeline.gate.clear()
    accepted = submit(studio, 3)
    until(lambda: studio.get(accepted[0].id).status is Status.running)
    with full(settings):
        pipeline.gate.set()
        until(lambda: len(pipeline.painted) == 1)
        time.sleep(0.2)
        assert len(pipeline.painted) == 1  # nothing is painted that nobody could record
        assert len(studio.jobs()) == 3
    assert_all_completed(studio, accepted, settings)


def test_a_full_disk_while_storing(
    studio: Studio, settings: Settings, pipeline: FakePipeline
) -> None:
    with file_limit(ROOM):
        accepted = submit(studio, 3)
        until(lambda: _phase(studio, accepted[2]) is Phase.saving)
        time.sleep(0.1)
        assert {studio.get(one.id).status for one in accepted} == {Status.running}
        assert list(settings.data_dir.rglob("*.png")) == []
    assert_all_completed(studio, accepted, settings)


def test_closing_on_a_full_disk_ends_soon_and_loses_nothing(
    settings: Settings, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxui.queue.local.GRACE_SECONDS", 0.1)
    studio = make_studio(settings, pipeline)
    with file_limit(ROOM):
        accepted = submit(studio, 7)  # more than the tails that may wait
        until(lambda: _phase(studio, accepted[4]) is Phase.saving)
        begin = time.monotonic()
        studio.close()
        assert time.monotonic() - begin < 3
    again = make_studio(settings, NoisyPipeline(settings))
    assert_all_completed(again, accepted, settings)
    again.close()


def test_a_history_that_became_read_only(
    studio: Studio, settings: Settings, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.gate.clear()
    accepted = submit(studio, 3)
    until(lambda: studio.get(accepted[0].id).status is Status.running)
    with read_only(monkeypatch, settings.data_dir):
        with TestClient(Gate(build_api(studio), None, None)) as client:
            answer = client.post("/api/generate/image", json={"prompt": "one too many"})
            assert (answer.status_code, answer.json()["code"]) == (503, "history_read_only")
            assert "read-only" in answer.json()["message"].lower()
            listed = client.get("/api/generate/").json()
            assert [one["status"] for one in listed["generations"]] == ["queued"] * 2 + ["running"]
        with pytest.raises(HistoryReadOnly):
            studio.cancel(accepted[1].id)
    pipeline.gate.set()
    assert_all_completed(studio, accepted, settings)
    paint(studio)


def test_a_watcher_waits_through_it_and_sees_the_end(
    studio: Studio, settings: Settings, pipeline: FakePipeline
) -> None:
    with TestClient(Gate(build_api(studio), None, None)) as client, file_limit(ROOM):
        (one,) = submit(studio, 1)
        told: list[str] = []

        def watch() -> None:
            told.append(client.get(f"/api/generate/{one.id}/events").text)

        watcher = threading.Thread(target=watch)
        watcher.start()
        until(lambda: _phase(studio, one) is Phase.saving)
        time.sleep(0.1)
        assert not told
        with file_limit(10**9):
            watcher.join(20)
        assert "event: end" in told[0] and '"status":"completed"' in told[0]


def _phase(studio: Studio, generation: Generation) -> Phase | None:
    progress = studio.progress(generation.id)
    return progress.phase if progress else None


@contextmanager
def full_bucket(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The pictures' place is full, the history's is not. Thumbnails still find room."""
    put = LocalStorage.put

    def refuse(self: LocalStorage, key: str, data: bytes, content_type: str) -> None:
        if key.endswith(".png"):
            raise StorageFull("The bucket is full.")
        put(self, key, data, content_type)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStorage, "put", refuse)
        yield


def test_cancel_while_the_pictures_wait_for_room(
    studio: Studio, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are thrown away, and what else was stored of them too; the next one goes on."""
    with full_bucket(studio, monkeypatch):
        first, second = submit(studio, 2)
        until(lambda: _obstacle(studio, first) == "The bucket is full.")
        cancelled = studio.cancel(first.id)
        assert cancelled.status is Status.cancelled
        assert cancelled.stopped_at == first.request.num_inference_steps
        assert studio.progress(first.id) is None or _obstacle(studio, first)
    assert wait(studio, second.id).status is Status.completed
    assert not list(settings.data_dir.rglob(f"{first.id}/*"))


@pytest.mark.parametrize("before", ["painting", "saving"])
def test_cancel_while_the_history_takes_nothing(
    studio: Studio,
    settings: Settings,
    pipeline: FakePipeline,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
) -> None:
    """The answer says that it will end; it does once there is room, and nothing else is hurt."""
    monkeypatch.setattr("fluxui.studio.STUCK_SECONDS", 0.1)
    pipeline.gate.clear()
    first, second = submit(studio, 2)
    until(lambda: studio.get(first.id).status is Status.running)
    with TestClient(Gate(build_api(studio), None, None)) as client, full(settings):
        stuck = second if before == "painting" else first
        if before == "painting":  # the first one fails at once, but can't be recorded either
            pipeline.error = RuntimeError("the sky fell")
        pipeline.gate.set()
        until(lambda: _obstacle(studio, stuck))
        told = client.post(f"/api/generate/{stuck.id}/cancel").json()
        assert told["outcome"] == "stopping" and told["generation"]["status"] != "cancelled"
        assert told["message"].startswith("The disk is full")
        assert told["message"].endswith("It ends as soon as that can be written.")
        again = client.post(f"/api/generate/{stuck.id}/cancel").json()
        assert again["outcome"] == "stopping"
        pipeline.error = None
    ended = {one.id: wait(studio, one.id).status for one in (first, second)}
    assert ended[stuck.id] is Status.cancelled
    assert ended[second.id if stuck is first else first.id] is not Status.cancelled
    assert paint(studio).status is Status.completed


def test_a_cancel_of_a_waiting_one_that_cant_be_kept_is_refused(
    studio: Studio, settings: Settings, pipeline: FakePipeline
) -> None:
    pipeline.gate.clear()
    first, second = submit(studio, 2)
    until(lambda: studio.get(first.id).status is Status.running)
    with TestClient(Gate(build_api(studio), None, None)) as client:
        with full(settings):
            answer = client.post(f"/api/generate/{second.id}/cancel")
            assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
            assert studio.get(second.id).status is Status.queued
            assert [one.id for one in studio.jobs()] == [first.id, second.id]
        assert client.post(f"/api/generate/{second.id}/cancel").json()["outcome"] == "dequeued"
    pipeline.gate.set()
    assert wait(studio, first.id).status is Status.completed


def _obstacle(studio: Studio, generation: Generation) -> str:
    progress = studio.progress(generation.id)
    return progress.obstacle if progress else ""
