"""A picture deleted and brought back, in processes that die before or after one call of the
storage: kill -9, in a folder or a bucket."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import boto3.session  # noqa: F401 (once, before the processes are forked)
import botocore.client  # noqa: F401

from fluxui.history import Query
from fluxui.history.tiny import TinyHistory
from fluxui.settings import Settings
from fluxui.storage import Storage, StoredObject
from fluxui.storage.local import LocalStorage
from fluxui.storage.s3 import S3Storage
from fluxui.trash import Trash
from tests.faults.house import nurse, say


class Mortal:
    """A storage whose process dies by its own hand at the nth of these moments: before and after
    every call."""

    def __init__(self, storage: Storage, moments: int) -> None:
        self._storage = storage
        self._moments = moments

    def _around(self, call: Callable[[], Any]) -> Any:
        self._reach()
        result = call()
        self._reach()
        return result

    def _reach(self) -> None:
        self._moments -= 1
        if self._moments < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def put(self, key: str, data: bytes, content_type: str) -> None:
        self._around(lambda: self._storage.put(key, data, content_type))

    def open(self, key: str) -> BinaryIO:
        stream: BinaryIO = self._around(lambda: self._storage.open(key))
        return stream

    def url(self, key: str, seconds: int = 3600) -> str | None:
        return None

    def list(self, prefix: str) -> Iterator[StoredObject]:
        found: list[StoredObject] = self._around(lambda: list(self._storage.list(prefix)))
        return iter(found)

    def delete(self, key: str) -> None:
        self._around(lambda: self._storage.delete(key))

    def check(self) -> None:
        self._storage.check()


def live(folder: str, act: str, moments: int, **bucket: str) -> None:
    """Do `act` with the only picture there is: discard, restore or settle."""
    history = TinyHistory(Path(folder) / "history.json")
    trash = Trash(Mortal(storage_of(Path(folder), **bucket), moments), history)
    if act == "settle":
        trash.settle()
    elif act == "discard":
        trash.discard(history.page(Query()).generations[0])
    else:
        (job_id,) = (Path(folder) / "deleted").read_text().split()
        trash.restore(job_id)
    history.close()
    say("done")


def storage_of(folder: Path, **bucket: str) -> Storage:
    """The folder itself, or the bucket that the settings name."""
    if not bucket:
        return LocalStorage(folder)
    return S3Storage(Settings(_env_file=None, data_dir=folder, base_model="tiny", **bucket))


if __name__ == "__main__":
    nurse(live)
