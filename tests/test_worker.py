"""What happens to LoRAs between the asking and the painting: fetched, deleted, exchanged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from fluxui.generation import Generation, Status
from fluxui.history.tiny import TinyHistory
from fluxui.loras.header import tensors_sha256
from fluxui.opening import assemble
from fluxui.pipeline import Adapter, Painting
from fluxui.previews import PROMPT
from fluxui.queue import Phase
from fluxui.request import GenerationForm, LoraRef
from fluxui.settings import Settings
from fluxui.storage.local import LocalStorage
from fluxui.studio import Studio
from tests.conftest import FakePipeline, make_studio, wait
from tests.faults.test_disk import until
from tests.lora_files import fitting_lora, write


class Loading(FakePipeline):
    """It reads the LoRAs that it is given, as the real one does; `begun` are the prompts."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.begun: list[str] = []

    def paint(self, prompt: str, *, adapters: Any, **rest: Any) -> Painting:
        self.begun.append(prompt)
        for adapter in adapters:
            assert isinstance(adapter, Adapter)
            adapter.load()
        return super().paint(prompt, adapters=adapters, **rest)


class Far(LocalStorage):
    """A folder that hides its files, as a bucket does, and gives LoRAs only while `gate` is open;
    their headers, which are asked for first, always."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.opened: list[str] = []
        self.gate = threading.Event()

    def open(self, key: str) -> BinaryIO:
        self.opened.append(key)
        if self.opened.count(key) > 1:
            self.gate.wait(20)
        with super().open(key) as stream:
            return BytesIO(stream.read())


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With previews, as they are by default."""
    return settings.model_copy(update={"lora_previews": True})


@pytest.fixture
def pipeline(settings: Settings) -> Loading:
    return Loading(settings)


@pytest.fixture
def lora(settings: Settings, tmp_path: Path) -> Path:
    return write(tmp_path, fitting_lora(settings), "ink.safetensors")


@pytest.fixture
def far(settings: Settings, pipeline: Loading, lora: Path) -> Iterator[tuple[Studio, Far]]:
    """A studio with one LoRA in its bucket that was never used."""
    storage = Far(settings.data_dir)
    storage.put("models/ink.safetensors", lora.read_bytes(), "application/octet-stream")
    studio = assemble(settings, pipeline, storage, TinyHistory(settings.data_dir / "history.json"))
    yield studio, storage
    storage.gate.set()
    studio.close()


def asked(studio: Studio, **values: Any) -> Generation:
    return studio.submit(
        GenerationForm(
            prompt="a boat",
            num_inference_steps=1,
            **{"loras": (LoraRef(model_id="ink"),), **values},
        )
    )


def phase_is(studio: Studio, job_id: str, phase: Phase) -> Callable[[], bool]:
    def reached() -> bool:
        progress = studio.progress(job_id)
        return progress is not None and progress.phase is phase

    return reached


def test_the_first_use_is_accepted_at_once_and_fetched_once_for_all(
    far: tuple[Studio, Far], lora: Path
) -> None:
    studio, storage = far
    accepted = [asked(studio) for _ in range(20)]
    assert {one.loras[0].sha256 for one in accepted} == {""}
    until(phase_is(studio, accepted[0].id, Phase.fetching))
    moment = studio.moment(accepted[0].id)
    assert moment.progress
    assert "ink" in moment.progress.obstacle
    storage.gate.set()
    done = [wait(studio, one.id) for one in accepted]
    assert {one.status for one in done} == {Status.completed}
    assert {one.loras[0].sha256 for one in done} == {tensors_sha256(lora)}
    assert storage.opened.count("models/ink.safetensors") == 2  # its header, and all of it


def test_who_does_not_want_to_wait_for_a_download_cancels(far: tuple[Studio, Far]) -> None:
    studio, storage = far
    waits = asked(studio)
    until(phase_is(studio, waits.id, Phase.fetching))
    assert studio.cancel(waits.id).status is Status.cancelled
    plain = asked(studio, loras=())
    assert wait(studio, plain.id).status is Status.completed


def test_a_lora_that_is_deleted_while_it_is_waited_for_finishes_first(
    studio: Studio, pipeline: Loading, lora: Path
) -> None:
    studio.collection.add(lora)
    pipeline.gate.clear()
    first, second = asked(studio, loras=()), asked(studio)
    assert studio.collection.delete("ink") == 0
    pipeline.gate.set()
    wait(studio, first.id)
    done = wait(studio, second.id)
    assert done.status is Status.completed
    assert done.loras[0].sha256 == tensors_sha256(lora)


def test_a_lora_that_is_exchanged_while_it_is_waited_for_is_refused(
    studio: Studio, pipeline: Loading, lora: Path
) -> None:
    studio.collection.add(lora)
    pipeline.gate.clear()
    first, second = asked(studio, loras=()), asked(studio)
    studio.collection.delete("ink")
    lora.write_bytes(lora.read_bytes()[:-4] + b"\1\0\0\0")
    studio.collection.add(lora)
    pipeline.gate.set()
    wait(studio, first.id)
    failed = wait(studio, second.id)
    assert failed.error
    assert failed.error.message == "The LoRA ink became another file meanwhile."


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is quiet soon."""
    monkeypatch.setattr("fluxui.queue.local.QUIET_SECONDS", 0.02)
    monkeypatch.setattr("fluxui.queue.local.LOOK_SECONDS", 0.02)


def test_a_lora_without_a_picture_gets_one_in_the_quiet(
    quiet: None, studio: Studio, pipeline: Loading, lora: Path
) -> None:
    studio.collection.add(lora, trigger_words=("ink",))
    assert studio.collection.preview("ink") is None
    studio.warm_up()
    until(lambda: studio.collection.preview("ink") is not None)
    picture = studio.collection.preview("ink")
    assert picture
    assert picture[8:12] == b"WEBP"
    time.sleep(0.2)
    assert pipeline.painted == [f"ink, {PROMPT}"]
    assert studio.pictures.page().total == 0  # nobody asked for it
    assert studio.jobs() == []


def test_a_preview_gives_way_to_whoever_comes(
    quiet: None, studio: Studio, pipeline: Loading, lora: Path
) -> None:
    studio.collection.add(lora)
    pipeline.step_seconds = 0.05
    studio.warm_up()
    until(lambda: pipeline.begun == [PROMPT])
    mine = asked(studio, loras=())
    done = wait(studio, mine.id)
    assert pipeline.painted[0] == "a boat"
    assert done.started_at
    assert (done.started_at - done.created_at).total_seconds() < 0.5
    until(lambda: studio.collection.preview("ink") is not None)


def test_a_preview_that_can_not_be_painted_is_tried_once_over_a_restart_and_any_name(
    quiet: None, settings: Settings, pipeline: Loading, lora: Path
) -> None:
    pipeline.error = RuntimeError("no")
    studio = make_studio(settings, pipeline)
    studio.collection.add(lora)
    studio.warm_up()
    until(lambda: pipeline.begun == [PROMPT])
    time.sleep(0.2)
    studio.close()
    again = Loading(settings)
    studio = make_studio(settings, again)
    studio.collection.add(lora, "same-tensors")
    studio.warm_up()
    time.sleep(0.5)
    assert (pipeline.begun, again.begun) == ([PROMPT], [])
    assert studio.collection.get("ink").preview == ""
    studio.close()


def test_no_previews_where_they_are_switched_off(
    quiet: None, settings: Settings, pipeline: Loading, lora: Path
) -> None:
    studio = make_studio(settings.model_copy(update={"lora_previews": False}), pipeline)
    studio.collection.add(lora)
    studio.warm_up()
    time.sleep(0.3)
    assert pipeline.begun == []
    studio.close()
