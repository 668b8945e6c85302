"""A TinyDB storage whose writes cost one line and one sync, however large the file.

Changes are appended to the file as `format.py` draws them. Compaction folds them in, and what it
leaves is plain TinyDB JSON that stock TinyDB opens. In memory each document is its JSON text, so
what is read is always a copy. It knows nothing of generations.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, NoReturn

from tinydb.storages import Storage

from fluxui.errors import HistoryLocked, HistoryReadOnly, StorageFull
from fluxui.history.format import (
    Changes,
    Seen,
    Texts,
    apply,
    dump_parts,
    parse,
    record,
    texts_of,
    unseen,
)

COMPACT_BYTES = 32 * 2**20
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_data_sync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has only fsync
_log = logging.getLogger(__name__)


class JournalStorage(Storage):
    """The file of one database, held by one process. Threads share it through `lock`.

    Raises HistoryLocked if another process holds it, HistoryReadOnly if it can't be opened. A
    damaged file is copied to `set_aside` first, then everything readable in it is kept.
    """

    def __init__(self, path: Path, compact_bytes: int = COMPACT_BYTES, seen: Seen = unseen) -> None:
        """`seen` is told of every document that is met while the file is read."""
        self.lock = threading.RLock()
        self.set_aside: Path | None = None
        self._path = path
        self._compact_bytes = compact_bytes
        self._broken = ""
        self._closed = False
        self._tables: dict[str, Texts] = {}
        self._held = contextlib.ExitStack()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._held.enter_context(_lock(path.with_name(path.name + ".lock")))
            self._load(seen)
        except OSError as error:
            self._held.close()
            raise HistoryReadOnly(
                f"The history file can't be opened: {error.strerror}.",
                "Check who owns the data folder, or choose another one with --data-dir.",
            ) from error

    def read(self) -> dict[str, dict[str, Any]] | None:
        """Everything, as copies: slow, and only what drops whole tables needs it."""
        with self.lock:
            return {
                name: {str(doc_id): json.loads(text) for doc_id, text in texts.items()}
                for name, texts in self._tables.items()
            } or None

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        """Replace everything."""
        self._replace(texts_of(data))

    def replace(self, table: str, texts: Texts) -> None:
        """Replace one table, all of it or, if it raises StorageFull or HistoryReadOnly, nothing."""
        with self.lock:
            self._replace({**self._tables, table: texts})

    def _replace(self, tables: dict[str, Texts]) -> None:
        with self.lock:
            self._writable()
            before, self._tables = self._tables, tables
            try:
                self._compact()
            except OSError as error:
                self._tables = before
                raise StorageFull(f"The history can't be written: {error.strerror}.") from error

    def texts(self, table: str) -> Texts:
        """The live documents of a table, not to be changed."""
        return self._tables.get(table, {})

    def commit(self, table: str, changes: Changes) -> None:
        """Put the changes on disk, then apply them: all of them or, if it raises, none.

        Raises StorageFull while the disk is full, HistoryReadOnly while it takes nothing.
        """
        with self.lock:
            self._writable()
            self._append(record(table, changes))
            # Only now: to compact before this would drop the change.
            apply(self._tables.setdefault(table, {}), changes)
            if self._end - self._base >= self._compact_bytes:
                self._compact_later_if_full()

    def close(self) -> None:
        """Compact, and let go of the file."""
        with self.lock:
            if not self._broken and self._end > self._base:
                self._compact_later_if_full()
            self._closed = True
            self._held.close()

    def _writable(self) -> None:
        if self._closed:
            raise HistoryReadOnly("The history is closed.")
        if self._broken:
            self._renew()

    def _renew(self) -> None:
        """After a failure nobody knows what the disk holds of the file. But all that was ever
        acknowledged is in memory: written anew and synced whole, it is good again."""
        reason, self._broken = self._broken, ""
        try:
            self._compact()
        except OSError:
            self._broken = reason
        if self._broken:
            raise HistoryReadOnly(self._broken)

    def _load(self, seen: Seen) -> None:
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        self._held.callback(lambda: os.close(self._fd))
        data = self._path.read_bytes()
        found = parse(data, seen)
        self._tables, self._base, self._end = found.tables, found.base, found.end
        if not found.whole:
            self.set_aside = _copy_aside(self._path)
            self._compact()
        elif self._end < len(data):
            # The last line was cut off while it was written: it was never acknowledged.
            os.ftruncate(self._fd, self._end)
            os.fsync(self._fd)

    def _append(self, line: bytes) -> None:
        try:
            written = os.pwrite(self._fd, line, self._end)
        except OSError as error:
            self._take_back(error.errno, error.strerror)
        else:
            # A nearly full disk takes a part of the line, and that is no error to the kernel.
            if written < len(line):
                self._take_back(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            _data_sync(self._fd)
        except OSError as error:
            # What the disk holds now is unknown, and a second sync would report success.
            raise self._break(error.strerror) from error
        self._end += len(line)

    def _take_back(self, code: int | None, reason: str | None) -> NoReturn:
        try:
            os.ftruncate(self._fd, self._end)
        except OSError as error:
            raise self._break(error.strerror) from error
        if code in NO_ROOM:
            raise StorageFull("The disk is full: the history took no more.")
        raise self._break(reason)

    def _break(self, reason: str | None) -> HistoryReadOnly:
        self._broken = f"The history can't be written: {reason}."
        return HistoryReadOnly(self._broken)

    def _compact_later_if_full(self) -> None:
        try:
            self._compact()
        except OSError as error:
            # Nothing is lost, the journal holds it all. Try again after as many bytes.
            _log.warning("The history was not compacted: %s", error)
            self._base = self._end

    def _compact(self) -> None:
        """Write it anew beside the old file and put it in its place. Raises OSError."""
        draft = self._path.with_name(self._path.name + ".new")
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            length = sum(_write_all(fd, part) for part in dump_parts(self._tables))
            os.fsync(fd)
            draft.replace(self._path)
        except OSError:
            os.close(fd)
            draft.unlink(missing_ok=True)
            raise
        os.close(self._fd)
        self._fd, self._base, self._end = fd, length, length
        try:
            _sync_folder(self._path.parent)
        except OSError as error:
            self._break(error.strerror)


def _lock(path: Path) -> IO[str]:
    """One process at a time, until it ends in whatever way. The name says who it is."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read(20).strip()
        file.close()
        raise HistoryLocked(
            f"Another fluxui (process {owner or 'unknown'}) is using this history."
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _copy_aside(path: Path) -> Path:
    day = datetime.now(timezone.utc)
    aside = path.with_name(f"{path.stem}.damaged-{day:%Y-%m-%dT%H-%M-%S-%f}{path.suffix}")
    shutil.copyfile(path, aside)
    with aside.open("rb+") as file:
        os.fsync(file.fileno())
    return aside


def _write_all(fd: int, data: bytes) -> int:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    return len(data)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
