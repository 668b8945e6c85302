"""A page and its workers: real processes, a real Redis, a real bucket."""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fluxui.generation import Generation, Status
from fluxui.history.tiny import TinyHistory
from fluxui.loras.library import Library
from fluxui.pipeline import get_pipeline
from fluxui.queue import Phase
from fluxui.queue.order import Ticket
from fluxui.queue.remote import RemoteQueue
from fluxui.queue.wire import Beat, News, Terms, Wire
from fluxui.request import GenerationForm
from fluxui.settings import Settings
from fluxui.storage.local import LocalStorage
from fluxui.studio import Studio
from fluxui.webhook import nobody
from fluxui.worker import Worker
from tests.conftest import wait
from tests.crews import Crew, RedisServer

FAKE = "tests.faults.worker"
SLOW = {"FAKE_STEP": "0.1"}
OpenPage = Callable[[], Studio]


def submit(studio: Studio, prompt: str = "a red boat", steps: int = 2, **values: object) -> str:
    told = {"prompt": prompt, "num_inference_steps": steps, "seed": 7, **values}
    return studio.submit(GenerationForm.parse(told)).id


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def paints(studio: Studio, job_id: str) -> bool:
    progress = studio.progress(job_id)
    return progress is not None and progress.phase is Phase.painting and progress.step > 0


def hands(studio: Studio) -> int:
    return len(studio.system().crew)


def test_a_worker_paints_what_this_process_would(
    open_page: OpenPage, hired: Crew, tmp_path: Path
) -> None:
    """The program itself with its own model, a LoRA, two images: equal to the byte."""
    studio = open_page()
    hired.hire()
    job_id = submit(studio, model_id="pixel-art", num_images=2, num_inference_steps=4)
    seen = []
    while not studio.get(job_id).status.ended:
        seen.append(studio.progress(job_id))
        time.sleep(0.01)
    done = wait(studio, job_id, 120)
    assert done.status is Status.completed, hired.log.read_text()
    assert done.attempts == 1
    assert done.loras[0].layers == done.loras[0].layers_total > 0
    assert any(one and one.phase is Phase.painting for one in seen)
    told = [one.obstacle for one in seen if one]
    assert "No worker is there. Start one: python -m fluxui worker" in told
    here = painted_here(done, studio.settings, tmp_path / "calm")
    for image in done.images:
        with studio._storage.open(image.key) as there:
            assert there.read() == here.read(image.key)


class painted_here:
    """The same request under the same id, painted by this process into a folder."""

    def __init__(self, done: Generation, settings: Settings, folder: Path) -> None:
        self._storage = LocalStorage(folder)
        history = TinyHistory(folder / "history.json")
        admitted = {"id", "request", "base_model", "painted", "trigger_words", "created_at"}
        queued = done.model_dump(include=admitted) | {"loras": list(done.loras)}
        history.add(Generation.model_validate(queued))
        pipeline = get_pipeline(settings)
        library = Library(self._storage, folder / "cache", pipeline.base_model)
        worker = Worker(pipeline, library, self._storage, history, nobody)
        worker.run(done.id, lambda progress: None, lambda: False)()
        assert history.get(done.id).images == done.images
        library.close()
        history.close()

    def read(self, key: str) -> bytes:
        with self._storage.open(key) as stream:
            return stream.read()


def test_order_pauses_and_cancels_are_those_of_any_queue(open_page: OpenPage, hired: Crew) -> None:
    studio = open_page()
    hired.hire(module=FAKE, **SLOW)
    until(lambda: hands(studio) == 1)
    first, second, third, fourth = (submit(studio, name, 20) for name in "abcd")
    until(lambda: paints(studio, first))
    progress = studio.progress(first)
    assert progress and progress.preview and progress.steps == 20
    assert studio.move_up(fourth)
    assert [one.id for one in studio.jobs()] == [first, fourth, second, third]
    assert studio.cancel(second).status is Status.cancelled
    studio.pause(True)
    began = time.monotonic()
    stopped = studio.cancel(first)
    assert time.monotonic() - began < 2
    assert stopped.status is Status.cancelled and 0 < (stopped.stopped_at or 0) < 20
    time.sleep(0.3)
    assert studio.get(fourth).status is Status.queued
    studio.pause(False)
    ended = [wait(studio, job_id) for job_id in (fourth, third)]
    assert [one.status for one in ended] == [Status.completed] * 2
    assert ended[0].started_at < ended[1].started_at  # type: ignore[operator]


def test_a_killed_worker_costs_one_attempt_and_two_end_it(open_page: OpenPage, hired: Crew) -> None:
    studio = open_page()
    victim = hired.hire(module=FAKE, **SLOW)
    job_id = submit(studio, steps=10)
    until(lambda: paints(studio, job_id))
    victim.kill()
    killed = time.monotonic()
    second = hired.hire(module=FAKE, **SLOW)
    done = wait(studio, job_id)
    assert (done.status, done.attempts) == (Status.completed, 2)
    assert time.monotonic() - killed < 30
    doomed = submit(studio, steps=80)
    until(lambda: paints(studio, doomed))
    second.kill()
    third = hired.hire(module=FAKE, **SLOW)
    until(lambda: studio.get(doomed).attempts == 2 and paints(studio, doomed))
    third.kill()
    lost = wait(studio, doomed)
    assert lost.status is Status.failed and lost.error and lost.error.code == "worker_lost"


def test_a_worker_that_is_stopped_gives_back_and_no_attempt_counts(
    open_page: OpenPage, hired: Crew
) -> None:
    studio = open_page()
    for _ in range(2):
        hired.hire(module=FAKE, FAKE_STEP="0.3")
    until(lambda: hands(studio) == 2)
    job_id = submit(studio, steps=20)
    until(lambda: paints(studio, job_id))
    (busy,) = (one.name for one in studio.system().crew if one.jobs)
    (leaving,) = (one for one in hired.processes if busy.endswith(f":{one.pid}"))
    leaving.send_signal(signal.SIGTERM)
    assert leaving.wait(20) == 0, hired.log.read_text()
    until(lambda: hands(studio) == 1 and paints(studio, job_id))
    assert studio.get(job_id).attempts == 1
    assert [one.name for one in studio.system().crew] != [busy]


def test_workers_go_on_while_the_page_is_away(open_page: OpenPage, hired: Crew) -> None:
    studio = open_page()
    hired.hire(module=FAKE, **SLOW)
    job_id, running, waiting = (submit(studio, name, 12) for name in "abc")
    until(lambda: paints(studio, job_id))
    studio.close()
    time.sleep(1.5)  # it ends meanwhile
    studio = open_page()
    ended = [wait(studio, one) for one in (job_id, running, waiting)]
    assert [(one.status, one.attempts) for one in ended] == [(Status.completed, 1)] * 3


def test_redis_may_be_restarted_and_forget_everything(
    open_page: OpenPage, hired: Crew, redis: RedisServer, tmp_path: Path
) -> None:
    studio = open_page()
    for _ in range(2):
        hired.hire(module=FAKE, **SLOW)
    until(lambda: hands(studio) == 2)
    running = submit(studio, "a", 20)
    until(lambda: paints(studio, running))
    redis.stop()
    time.sleep(3)  # what is painted ends meanwhile, and its receipt can't be given
    waiting, last = (submit(studio, name, 5) for name in "bc")
    shutil.rmtree(tmp_path / "redis")
    (tmp_path / "redis").mkdir()
    for job_id in (running, waiting):
        until(lambda: obstacle(studio, job_id) == "Redis does not answer.")  # noqa: B023
    later = submit(studio, "d")
    redis.start()
    ended = [wait(studio, job_id, 90) for job_id in (running, waiting, last, later)]
    assert [(one.status, one.attempts) for one in ended] == [(Status.completed, 1)] * 4


class Notes:
    """A ledger that writes down what it is told."""

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.given_back: list[str] = []

    def offer(self, job_id: str) -> str:
        return job_id

    def keep(self, record: str) -> None:
        self.kept.append(record)

    def back(self, job_id: str) -> None:
        self.given_back.append(job_id)

    def lost(self, job_id: str) -> bool:
        return True

    def cancelled(self, job_id: str) -> None:
        self.kept.append(f"{job_id} cancelled")


class Tokens(list[str]):
    """Where they go instead of to Celery."""

    send = list.append

    def close(self) -> None: ...


def test_what_two_workers_tell_of_one_generation_counts_once(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One was given up for lost, and lives: its picture is as good as the other's."""
    monkeypatch.setattr("fluxui.queue.remote.SILENCE_SECONDS", 1.5)
    notes, sent, worker, ended = Notes(), Tokens(), Wire(redis.url), threading.Event()
    queue = RemoteQueue(Wire(redis.url), sent, notes, ("me", Terms("1", "tiny", "b")), 8)
    queue.start()

    def beat() -> None:
        while not ended.wait(0.1):
            worker.say([Beat("two", "gpu"), Beat("three", "gpu")])

    beating = threading.Thread(target=beat)
    beating.start()
    queue.put(Ticket("a"), lambda: None)
    until(lambda: len(sent) == 1)
    assert worker.take(sent[0]) == "a" and worker.take(sent[0]) is None
    worker.say([Beat("one", "gpu", (sent[0],))])
    until(lambda: len(sent) == 2)
    for kind in ("began", "stopped", "completed", "completed"):
        worker.tell(News(kind, sent[0], f"{kind} by one"))
    until(lambda: not queue.jobs())
    assert notes.kept[0] == "completed by one"
    assert worker.cancelled(sent) == {sent[1]}
    queue.put(Ticket("b"), lambda: None)
    until(lambda: len(sent) == 3)
    worker.say([Beat("two", "gpu", (sent[2],))])
    worker.tell(News("back", sent[2], ""))
    until(lambda: len(sent) == 4)
    assert notes.given_back == ["b"]
    worker.stay_page("somebody else", Terms("1", "tiny", "b"))
    until(lambda: bool(one := queue.progress("b")) and "took over" in one.obstacle)
    ended.set()
    beating.join()
    queue.close()
    assert worker.page() is not None
    worker.close()


def obstacle(studio: Studio, job_id: str) -> str:
    progress = studio.progress(job_id)
    return progress.obstacle if progress else ""
