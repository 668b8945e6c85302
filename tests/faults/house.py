"""A whole studio over the fake pipeline, in processes that are made to be killed.

What it needs is imported once. Then each line of JSON on its input forks a process that opens the
studio of a folder, takes up what the last one left and works on: it keeps twenty in the queue,
deletes pictures and restores them. It dies by its own hand at a checkpoint, or by its parent's.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import count as count_up
from pathlib import Path
from typing import Any

import fluxui.history.tiny
import fluxui.storage.local
from fluxui import images
from fluxui.generation import Generation, Status
from fluxui.history import Query, journal
from fluxui.history.tiny import TinyHistory
from fluxui.opening import assemble
from fluxui.pipeline import Painting, Step
from fluxui.request import GenerationForm
from fluxui.settings import Settings
from fluxui.storage.local import LocalStorage
from fluxui.studio import Studio
from tests.conftest import FakePipeline

QUEUE = 20
STEPS = 3
STEP_SECONDS = 0.003
COMPACT_BYTES = 40_000  # often

CHECKPOINTS = (
    *("admit", "denoise", "encode", "put", "record", "torn", "compact"),
    *("delete", "restore"),
)


class Death:
    """kill -9 of this process when a checkpoint is reached for the nth time. They lie before and
    after what they are named for."""

    def __init__(self, checkpoint: str, count: int) -> None:
        self._checkpoint = checkpoint
        self._count = count
        self._lock = threading.Lock()

    def reach(self, checkpoint: str) -> None:
        with self._lock:
            self._count -= checkpoint == self._checkpoint
            if self._count == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, checkpoint: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            self.reach(checkpoint)
            result = call(*arguments)
            self.reach(checkpoint)
            return result

        return called

    def tear(self, fd: int, line: bytes, offset: int) -> int:
        """A line of the history, of which only half gets written if this is the end."""
        if self._checkpoint == "torn":
            _pwrite(fd, line[: len(line) // 2], offset)
            self.reach("torn")
        return _pwrite(fd, line, offset)


_pwrite = os.pwrite


class MortalHistory(TinyHistory):
    def __init__(self, path: Path, death: Death) -> None:
        super().__init__(path)
        self._death = death

    def add(self, generation: Generation) -> None:
        checkpoint = "restore" if generation.status.ended else "admit"
        self._death.around(checkpoint, super().add)(generation)

    def replace(self, generation: Generation) -> None:
        self._death.around("record", super().replace)(generation)

    def remove(self, job_id: str) -> None:
        self._death.around("delete", super().remove)(job_id)


class MortalPipeline(FakePipeline):
    def __init__(self, settings: Settings, death: Death) -> None:
        super().__init__(settings)
        self.step_seconds = STEP_SECONDS
        self._death = death

    def paint(self, prompt: str, *, on_step: Callable[[Step], None], **rest: Any) -> Painting:
        return super().paint(prompt, on_step=self._death.around("denoise", on_step), **rest)


def nurse(live: Callable[..., None]) -> None:
    """Fork a process for each line of JSON, which `live` gets as its arguments."""
    for line in sys.stdin:
        child = os.fork()
        if not child:
            say(f"born {os.getpid()}")
            return live(**json.loads(line))
        _, status = os.waitpid(child, 0)
        say(f"dead {status}")


def live(folder: str, life: int, checkpoint: str = "", count: int = 1, last: bool = False) -> None:
    """`life` numbers the processes of a folder. The `last` one only ends what is queued."""
    signal.alarm(600 if last else 60)
    random.seed(f"{folder} {life}")
    studio = open_mortal(Path(folder), Death(checkpoint, count))
    for number in count_up():
        if last and not studio.jobs():
            studio._trash.settle()
            return studio.close()
        if last:
            time.sleep(0.01)
        else:
            work(studio, f"{life}.{number}")


def open_mortal(folder: Path, death: Death) -> Studio:
    fluxui.history.tiny.JournalStorage = partial(  # type: ignore[misc, assignment]
        journal.JournalStorage, compact_bytes=COMPACT_BYTES
    )
    images.encode = death.around("encode", images.encode)
    fluxui.storage.local.place = death.around("put", fluxui.storage.local.place)
    journal._write_all = death.around("compact", journal._write_all)
    journal._sync_folder = death.around("compact", journal._sync_folder)
    os.pwrite = death.tear
    settings = Settings(_env_file=None, data_dir=folder, base_model="tiny")
    history = MortalHistory(folder / "history.json", death)
    return assemble(settings, MortalPipeline(settings, death), LocalStorage(folder), history)


def work(studio: Studio, key: str) -> None:
    """One act, told before it begins and when it is done."""
    if len(studio.jobs()) < QUEUE:
        say(f"begin submit {key}")
        values = {"prompt": f"picture {key}", "seed": random.randrange(2**32)}
        form = GenerationForm.parse({**values, "num_inference_steps": STEPS, "num_images": 2})
        say(f"done submit {studio.submit(form, key).id}")
    elif done := studio.pictures.page(Query(status=Status.completed), limit=5).generations:
        job_id = random.choice(done).id
        say(f"begin delete {job_id}")
        studio.delete(job_id)
        say(f"done delete {job_id}")
        if random.random() < 0.8:
            say(f"begin restore {job_id}")
            studio.pictures.restore(job_id)
            say(f"done restore {job_id}")
    time.sleep(0.005)


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    nurse(live)
