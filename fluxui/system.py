"""What this machine is and does just now, as plain values that may be shown to anybody.

No secret ever stands here, so that "Copy report" is safe. It measures; it decides nothing.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from fluxui import __version__
from fluxui.queue import Hand, Phase, Queue
from fluxui.settings import Settings
from fluxui.storage import Storage
from fluxui.storage.spool import SpooledStorage

LIBRARIES = ("gradio", "torch", "diffusers", "transformers", "peft", "tinydb")


@dataclass(frozen=True)
class StorageFacts:
    """`kind` is "folder" or "bucket"; sizes in bytes; `waiting` pictures have not reached it."""

    kind: str
    name: str
    disk_free: int
    disk_total: int
    waiting: int
    waiting_bytes: int


@dataclass(frozen=True)
class QueueFacts:
    """`seconds_left` until all of it is done but what is held back; None if that is not known."""

    running: int
    waiting: int
    size: int
    seconds_left: float | None


@dataclass(frozen=True)
class System:
    """`pipeline` is empty until the base model is loaded; `uptime` in seconds. `crew` are the
    workers elsewhere, where not this process paints."""

    base_model: str
    reason: str
    licence: str
    pipeline: dict[str, Any]
    storage: StorageFacts
    pictures: int
    loras: int
    queue: QueueFacts
    crew: tuple[Hand, ...]
    uptime: float
    versions: dict[str, str]


def storage_facts(settings: Settings, storage: Storage) -> StorageFacts:
    disk = shutil.disk_usage(settings.data_dir)
    spooled = storage if isinstance(storage, SpooledStorage) else None
    return StorageFacts(
        kind="bucket" if settings.s3_bucket_name else "folder",
        name=settings.s3_bucket_name or str(settings.data_dir),
        disk_free=disk.free,
        disk_total=disk.total,
        waiting=spooled.waiting if spooled else 0,
        waiting_bytes=spooled.waiting_bytes if spooled else 0,
    )


def queue_facts(settings: Settings, queue: Queue, seconds_left: float | None) -> QueueFacts:
    shown = [queue.progress(job_id) for job_id in queue.jobs()]
    running = sum(1 for one in shown if one and one.phase is not Phase.waiting)
    return QueueFacts(running, len(shown) - running, settings.queue_size, seconds_left)


def versions() -> dict[str, str]:
    return {"fluxui": __version__, **{name: version(name) for name in LIBRARIES}}
