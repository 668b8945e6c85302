"""Files from far away, as copies on this disk: each fetched once, whole or not there.

What was used last stays as long as there is room. A download that broke off goes on where it
stopped. It knows no bucket and no Hub: a `Source` opens them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from fluxui.errors import LoraUnreadable, StorageFull
from fluxui.loras.header import SUFFIX

LIMIT_BYTES = 20 * 2**30
PART = ".part"
# Seconds: who was just given a file has opened it by then.
IN_USE = 60.0
_CHUNK = 64 << 10  # what a line that breaks may cost

# Bytes that are here, bytes in all.
OnProgress = Callable[[int, int], None]


def unheard(done: int, total: int) -> None:
    """Nobody waits for it."""


@dataclass(frozen=True)
class Source:
    """One file somewhere, before it is fetched. `stamp` changes when the file does.

    `sha256` is that of the file, "" where the place doesn't tell. `open` gives its bytes from a
    byte on; `head` at least those of its header, in order. `origin` is for people.
    """

    name: str
    size: int
    stamp: str
    open: Callable[[int], BinaryIO]
    head: Callable[[], BinaryIO]
    sha256: str = ""
    origin: dict[str, str] = field(default_factory=dict)


class Copies:
    """At most `limit` bytes in `folder`. Safe to call from any thread of one process."""

    def __init__(self, folder: Path, limit: int = LIMIT_BYTES) -> None:
        self._folder = folder
        self._limit = limit
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._done: dict[str, tuple[int, int]] = {}

    def find(self, stamp: str) -> Path | None:
        """The copy, if it is here."""
        path = self._folder / f"{stamp}{SUFFIX}"
        return path if path.is_file() else None

    def progress(self, stamp: str) -> tuple[int, int] | None:
        """(bytes that are here, bytes in all) of what is being fetched now."""
        return self._done.get(stamp)

    def used_bytes(self) -> int:
        return sum(size for _, size, _ in self._files())

    def get(self, source: Source, on_progress: OnProgress = unheard) -> Path:
        """The copy, fetched if it has to be; who asks meanwhile waits for the same one.

        Raises LoraUnreadable for a file that changed meanwhile, StorageFull, and what
        `source.open` raises.
        """
        with self._lock:
            lock = self._locks.setdefault(source.stamp, threading.Lock())
        with lock:
            path = self.find(source.stamp)
            if path is None:
                try:
                    path = self._fetch(source, on_progress)
                finally:
                    self._done.pop(source.stamp, None)
            os.utime(path)
        return path

    def _fetch(self, source: Source, on_progress: OnProgress) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / f"{source.stamp}{PART}"
        here = part.stat().st_size if part.is_file() else 0
        if here > source.size:
            part.unlink()
            here = 0
        self._make_room(source.size - here, part)
        try:
            with part.open("ab") as file:
                if here < source.size:
                    self._pour(source, here, file, on_progress)
        except OSError as error:
            raise StorageFull(f"The LoRA could not be kept: {error.strerror or error}.") from error
        _verify(source, part)
        return part.replace(self._folder / f"{source.stamp}{SUFFIX}")

    def _pour(self, source: Source, here: int, file: BinaryIO, on_progress: OnProgress) -> None:
        with source.open(here) as stream:
            while chunk := stream.read(_CHUNK):
                file.write(chunk)
                here += len(chunk)
                self._done[source.stamp] = here, source.size
                on_progress(here, source.size)
                if here > source.size:
                    break

    def _make_room(self, size: int, part: Path) -> None:
        """Take away what was used longest ago."""
        if size > shutil.disk_usage(self._folder).free:
            raise StorageFull("There is not enough room on this disk for the LoRA.")
        files = sorted(self._files())
        total = sum(taken for _, taken, _ in files) + size
        for used, taken, path in files:
            if total <= self._limit:
                return
            if path != part and time.time() - used > IN_USE:
                path.unlink(missing_ok=True)
                total -= taken

    def _files(self) -> list[tuple[float, int, Path]]:
        """(used at, bytes, path) of each."""
        found = []
        for path in self._folder.glob("*"):
            if path.suffix in (SUFFIX, PART):
                seen = path.stat()
                found.append((seen.st_mtime, seen.st_size, path))
        return found


def _verify(source: Source, part: Path) -> None:
    """Raises LoraUnreadable, with the part gone, unless it is what was announced."""
    size = part.stat().st_size
    if size == source.size and source.sha256 in ("", _sha256(part)):
        return
    if size < source.size:  # the rest comes with the next try
        raise LoraUnreadable(
            f"{source.name} broke off after {size:,} of {source.size:,} bytes.", "Try again."
        )
    part.unlink()
    raise LoraUnreadable(
        f"{source.name} is not the file that was announced: it may still be written.",
        "Try again in a minute.",
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
