"""A bounded waiting room on disk, for while the bucket is away: nothing painted is lost.

What waits is served from here, and goes to the bucket in order when it answers again. The
folder is the whole state, one file for each object: a restart reads it and goes on.
"""

from __future__ import annotations

import heapq
import io
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

from fluxui.errors import StorageError, StorageFull
from fluxui.storage import Storage, StoredObject, check_key
from fluxui.storage.files import explain, place, sweep, write_draft

LIMIT_BYTES = 2 * 2**30
DRAFTS = "drafts"
SUFFIX = ".spooled"
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds
CLOSE_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Waiting:
    """One object. Its file holds a line of JSON, then the `size` bytes."""

    key: str
    content_type: str
    size: int
    since: datetime
    path: Path

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.readline()
            return file.read()


class SpooledStorage:
    """`primary`, with a spool of at most `limit_bytes` in `folder`. Threads may share it."""

    def __init__(self, primary: Storage, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._primary = primary
        self._folder = folder
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._work = threading.Event()
        self._closing = threading.Event()
        # In the order of the files' numbers, each key once.
        self._line: dict[str, _Waiting] = {}
        self._number = 0
        sweep(folder / DRAFTS)
        self._take_up()
        self._thread = threading.Thread(target=self._drain, name="fluxui-spool", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many objects are not in the bucket yet."""
        return len(self._line)

    @property
    def waiting_bytes(self) -> int:
        with self._lock:
            return sum(item.size for item in self._line.values())

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Raises StorageFull when neither the bucket nor the spool takes it."""
        check_key(key)
        # While others wait the bucket is away: nobody pays its timeouts again, and none is
        # overtaken by an older object of its own key.
        if not self._line:
            with suppress(StorageError):
                return self._primary.put(key, data, content_type)
        self._keep(key, data, content_type)

    def open(self, key: str) -> BinaryIO:
        item = self._line.get(key)
        if item:
            with suppress(FileNotFoundError):  # it has just left
                return io.BytesIO(item.read())
        return self._primary.open(key)

    def url(self, key: str, seconds: int = 3600) -> str | None:
        return None if key in self._line else self._primary.url(key, seconds)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        with self._lock:
            items = [item for item in self._line.values() if item.key.startswith(prefix)]
        here = {item.key: StoredObject(item.key, item.size, item.since) for item in items}
        there = (found for found in self._primary.list(prefix) if found.key not in here)
        return heapq.merge(sorted(here.values(), key=_key), there, key=_key)

    def delete(self, key: str) -> None:
        with self._lock:
            item = self._line.pop(key, None)
        try:
            self._primary.delete(key)
        except StorageError:
            with self._lock:
                if item:
                    self._line.setdefault(key, item)
            raise
        if item:
            item.path.unlink(missing_ok=True)

    def check(self) -> None:
        self._primary.check()

    def close(self) -> None:
        """End the thread; what waits stays on disk."""
        self._closing.set()
        self._work.set()
        self._thread.join(CLOSE_SECONDS)

    def _keep(self, key: str, data: bytes, content_type: str) -> None:
        head = json.dumps({"key": key, "content_type": content_type, "size": len(data)})
        with self._lock:
            former = self._line.get(key)
            others = sum(item.size for item in self._line.values() if item is not former)
            if others + len(data) > self._limit:
                raise StorageFull("The bucket is away, and the space for waiting pictures is full.")
            path = self._folder / f"{self._number + 1:012d}{SUFFIX}"
            try:
                place(write_draft(self._folder / DRAFTS, head.encode() + b"\n" + data), path)
            except OSError as error:
                raise explain(error) from error
            self._number += 1
            self._join(_Waiting(key, content_type, len(data), datetime.now(timezone.utc), path))
        self._work.set()

    def _join(self, item: _Waiting) -> None:
        """Enter the line at its end; an older object of the same key leaves it."""
        former = self._line.pop(item.key, None)
        self._line[item.key] = item
        if former:
            former.path.unlink(missing_ok=True)

    def _take_up(self) -> None:
        """What an earlier process left waiting."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            with path.open("rb") as file:
                head = json.loads(file.readline())
            since = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
            self._number = int(path.stem)
            self._join(_Waiting(head["key"], head["content_type"], head["size"], since, path))

    def _drain(self) -> None:
        pause = FIRST_PAUSE
        while not self._closing.is_set():
            with self._lock:
                item = next(iter(self._line.values()), None)
                data = item.read() if item else b""
            if item is None:
                self._work.wait()
                self._work.clear()
            elif self._send(item, data):
                pause = FIRST_PAUSE
            else:
                self._closing.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    def _send(self, item: _Waiting, data: bytes) -> bool:
        try:
            self._primary.put(item.key, data, item.content_type)
            with self._lock:
                now = self._line.get(item.key)
                if now is item:
                    del self._line[item.key]
                    item.path.unlink()
            if now is None:  # deleted while it was sent
                self._primary.delete(item.key)
        except StorageError as error:
            _log.warning("%d objects wait for the bucket: %s", self.waiting, error)
            return False
        return True


def _key(found: StoredObject) -> str:
    return found.key
