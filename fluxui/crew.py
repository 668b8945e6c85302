"""`python -m fluxui worker`: a process that paints for the page of another one, on its own GPU.

It keeps no history and no order: what it is to paint, and what became of that, goes through Redis,
and pictures through the bucket. With `--gpus` it only starts one such process for each GPU.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import IO

from fluxui.errors import (
    ConfigurationError,
    HistoryReadOnly,
    RedisUnavailable,
    StorageFull,
    StorageUnavailable,
)
from fluxui.generation import Generation, Status
from fluxui.loras.library import Library
from fluxui.opening import redis_url
from fluxui.pipeline import Pipeline, get_pipeline
from fluxui.pipeline.devices import count_gpus
from fluxui.queue.hand import Hand
from fluxui.queue.wire import Kind, Terms, Wire, terms
from fluxui.settings import Settings
from fluxui.storage import Storage
from fluxui.storage.s3 import S3Storage
from fluxui.webhook import nobody
from fluxui.worker import Worker

LOOK_SECONDS = 1.0
SAME = "Start it with the page's own settings."


def work(settings: Settings) -> int:
    """Paint for the page until SIGTERM; the exit code.

    Raises ConfigurationError, BaseModelUnavailable, StorageError, RedisUnavailable.
    """
    url = redis_url(settings)
    from fluxui.queue.celery import LONGEST_SECONDS, Post

    pipeline = get_pipeline(settings)
    mine = terms(settings, pipeline.base_model.id)
    wire = Wire(url)
    wire.check()
    bucket = S3Storage(settings)
    bucket.check()
    _meet_page(wire, mine)
    folder, held = _own_folder(settings.data_dir)
    with held, closing(wire), closing(Post(url, mine)) as post:
        _say(f"Loading {pipeline.base_model.name}.")
        pipeline.load()
        device = str(pipeline.describe()["device"])
        hand = Hand(wire, f"{socket.gethostname()}:{os.getpid()}", device, mine, LONGEST_SECONDS)
        run = _worker(settings, pipeline, bucket, folder, hand).run
        _say(f"This worker paints on {device}.")
        post.serve(partial(hand.paint, run), hand.stop)
        hand.close()
    if hand.refused:
        raise ConfigurationError(hand.refused, SAME)
    return 0


def _meet_page(wire: Wire, mine: Terms) -> None:
    """Wait until there is one. Raises ConfigurationError if it wants another worker."""
    told = wire.page()
    if told is None:
        _say("There is no page yet: this worker waits for it.")
    while told is None:
        time.sleep(LOOK_SECONDS)
        told = wire.page()
    if refused := told[1].refuse(mine):
        raise ConfigurationError(refused, SAME)


def _own_folder(data_dir: Path) -> tuple[Path, IO[str]]:
    """A folder for copies that no other process uses, as long as the file is open."""
    for number in count():
        folder = data_dir / "workers" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            file.close()
    return folder, file


def _worker(
    settings: Settings, pipeline: Pipeline, bucket: Storage, folder: Path, hand: Hand
) -> Worker:
    room = settings.lora_cache_gib * 2**30
    library = Library(bucket, folder, pipeline.base_model, limit=room)
    return Worker(
        pipeline, library, PatientStorage(bucket), Told(hand), nobody, settings.output_format
    )


@dataclass(frozen=True)
class Told:
    """In place of a history: what was offered, and the word to the page. See `worker.Book`."""

    hand: Hand

    def get(self, job_id: str) -> Generation:
        return Generation.model_validate_json(self.hand.record(job_id))

    def replace(self, generation: Generation) -> None:
        kind = _KINDS.get(generation.status, "stopped")
        try:
            self.hand.tell(generation.id, kind, generation.model_dump_json())
        except RedisUnavailable as error:
            raise HistoryReadOnly(error.message) from error


_KINDS: dict[Status, Kind] = {Status.running: "began", Status.completed: "completed"}


class PatientStorage:
    """The bucket, for one who has no spool that the page could read: while it is away, a picture
    waits in memory as it would for a full disk."""

    def __init__(self, bucket: Storage) -> None:
        self._bucket = bucket
        self.open, self.url, self.list = bucket.open, bucket.url, bucket.list
        self.delete, self.check = bucket.delete, bucket.check

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Raises StorageFull, after which it is tried again."""
        try:
            self._bucket.put(key, data, content_type)
        except StorageUnavailable as error:
            raise StorageFull(error.message) from error


# One process for each GPU


def lead(gpus: str, settings: Settings) -> int:
    """Run the command of this process without --gpus, once for each of them, until SIGTERM; the
    exit code.

    `gpus` is "all", or what CUDA calls them: "0,2". One that was killed is started again; one
    that gives up ends them all. Raises ConfigurationError.
    """
    command = _without_gpus(sys.orig_argv)
    names = _names(gpus, settings)
    stopped: list[int] = []
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda number, _: stopped.append(number))
    running = {gpu: _start(command, gpu) for gpu in names}
    ended: list[int] = []
    while not stopped and not ended:
        time.sleep(LOOK_SECONDS)
        codes = {gpu: process.poll() for gpu, process in running.items()}
        ended = [code for code in codes.values() if code is not None and code >= 0]
        for gpu in [gpu for gpu, code in codes.items() if code is not None and code < 0]:
            _say(f"The worker of GPU {gpu} was killed, and is started again.")
            running[gpu] = _start(command, gpu)
    for process in running.values():
        process.terminate()
    for process in running.values():
        process.wait()
    return max(ended, default=0)


def _names(gpus: str, settings: Settings) -> list[str]:
    if gpus != "all":
        return [name.strip() for name in gpus.split(",")]
    if settings.visible_gpus:
        return settings.visible_gpus.split(",")
    found = count_gpus()
    if not found:
        raise ConfigurationError(
            "There is no CUDA device here.", "Leave --gpus out to paint on the CPU."
        )
    return [str(number) for number in range(found)]


def _start(command: Sequence[str], gpu: str) -> subprocess.Popen[bytes]:
    os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    return subprocess.Popen(command)  # noqa: S603 (this very command)


def _without_gpus(command: Sequence[str]) -> list[str]:
    left = [word for word in command if not word.startswith("--gpus=")]
    if "--gpus" in left:
        place = left.index("--gpus")
        del left[place : place + 2]
    return left


def _say(line: str) -> None:
    print(f"fluxui: {line}", flush=True)
