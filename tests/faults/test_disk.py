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
