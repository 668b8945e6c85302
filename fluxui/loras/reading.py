"""What each file says of itself, found out once: its fit report, its hash, its copy on this disk.

Headers are read by ranges, several at a time, and remembered beyond a restart. It knows nothing
of what people wrote about a LoRA.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from fluxui.errors import (
    LoraUnreadable,
    NotFound,
    ObjectNotFound,
    StorageError,
    StorageUnavailable,
)
from fluxui.loras.copies import Copies, OnProgress, Source
from fluxui.loras.files import File, Shelf, read_head
from fluxui.loras.header import Fit, inspect, opened, tensors_sha256
from fluxui.loras.known import Known
from fluxui.loras.metadata import training, trigger_words

READERS, FETCHERS = 8, 2
# A file that ends too early and is younger than this may still be on its way. Seconds.
ARRIVING = 120.0
_UNFINISHED = ("cut off", "empty")


class Base(Protocol):
    """What is needed of a base model."""

    @property
    def name(self) -> str: ...
    def targets(self) -> dict[str, tuple[int, ...]]: ...


@dataclass(frozen=True)
class Report:
    """What the header says. `read_bytes` is what it took to know it."""

    fit: Fit
    trigger_words: tuple[str, ...] = ()
    training: Mapping[str, str] = field(default_factory=dict)
    read_bytes: int = 0


@dataclass(frozen=True)
class Fetching:
    """A file that is on its way here. The result of `job` is the hash of its tensors, and its
    errors are those of `Reader.path`; `done` gives bytes that are here and bytes in all."""

    job: Future[str]
    done: Callable[[], tuple[int, int] | None]


class Reader:
    """Safe to call from any thread. `close` it to stop what it still reads."""

    def __init__(self, shelf: Shelf, known: Known, copies: Copies, base: Base) -> None:
        self._shelf = shelf
        self._known = known
        self._copies = copies
        self._base = base
        self._targets = base.targets()
        self._mark = f"{_code()}-{_digest(repr((base.name, sorted(self._targets.items()))))}"
        self._lock = threading.Lock()
        self._reports: dict[str, Report] = {}
        self._jobs: dict[str, Future[None]] = {}
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="fluxui-loras")
        self._fetches: dict[str, Future[str]] = {}
        self._fetchers = ThreadPoolExecutor(FETCHERS, thread_name_prefix="fluxui-fetch")
        self._closing = threading.Event()
        self._remote = False  # whether the storage gives streams without a file, as a bucket

    def close(self) -> None:
        self._closing.set()
        for pool in (self._pool, self._fetchers):
            pool.shutdown(wait=False, cancel_futures=True)

    # Reports

    def found(self, file: File) -> Report | None:
        """The report, if it is known."""
        if file.stamp not in self._reports and (told := self._known.get(self._key(file))):
            fit = Fit(**{name: _frozen(value) for name, value in told["fit"].items()})
            words, settings = tuple(told["trigger_words"]), told["training"]
            self._reports[file.stamp] = Report(fit, words, settings)
        return self._reports.get(file.stamp)

    def report(self, file: File) -> Report:
        """Raises ObjectNotFound, StorageError."""
        return self.found(file) or self._read(file)

    def look_at(
        self, files: Iterable[tuple[File, Callable[[], Any]]], patience: float | None
    ) -> int:
        """Find out about all of these, each with something else to do for it, several at a time.

        Waits `patience` seconds at most, and says how many are left; they go on.
        """
        jobs = [self._job(file, also) for file, also in files]
        return len(wait(jobs, timeout=patience).not_done)

    def _job(self, file: File, also: Callable[[], Any]) -> Future[None]:
        with self._lock:
            job = self._jobs.get(file.stamp)
            if job is None or job.done():
                job = self._jobs[file.stamp] = self._pool.submit(self._look, file, also)
            return job

    def _look(self, file: File, also: Callable[[], Any]) -> None:
        # What can't be read now is left out of the listing, and tried again with the next one.
        with suppress(NotFound, StorageError):
            self.report(file)
            also()

    def _read(self, file: File) -> Report:
        with self._opened(file) as stream:
            values = stream if file.built_in or not self._remote else read_head(stream)
            report, lasting = self._report(values, file.size, file.modified)
        if lasting:
            self._reports[file.stamp] = report
            told = {"trigger_words": report.trigger_words, "training": dict(report.training)}
            self._known.keep(self._key(file), {"fit": asdict(report.fit), **told})
        return report

    def check(self, source: Source) -> Report:
        """The report on a file from elsewhere. Raises LoraUnreadable, and what its source does."""
        with source.head() as stream:
            return self._inspect(stream, source.size)

    def look_into(self, path: Path) -> Report:
        """The report on a file of this machine. Raises LoraUnreadable."""
        with opened(path) as (stream, size):
            return self._inspect(stream, size)

    def _report(self, stream: BinaryIO, size: int, modified: datetime) -> tuple[Report, bool]:
        """The report, and whether it holds as long as the file is the same."""
        try:
            return self._inspect(stream, size), True
        except LoraUnreadable as error:
            young = time.time() - modified.timestamp() < ARRIVING
            arriving = young and any(word in error.message for word in _UNFINISHED)
            told = "It is not whole: it may still be arriving." if arriving else error.message
            return Report(Fit("unreadable", 0, None, "unknown", 0, 0, False, told)), not arriving

    def _inspect(self, stream: BinaryIO, size: int) -> Report:
        fit, header = inspect(stream, size, self._targets, self._base.name)
        words, settings = trigger_words(header.metadata), training(header.metadata)
        return Report(fit, words, settings, header.data)

    def _key(self, file: File) -> str:
        return f"fit {self._mark} {file.stamp}"

    # Bytes

    def sha256(self, file: File) -> str:
        """The hash of its tensors, which may mean to download it. Raises LoraUnreadable."""
        if not (sha256 := self.known_sha256(file)):
            sha256 = tensors_sha256(self.path(file))
            self.keep_sha256(file, sha256)
        return sha256

    def keep_sha256(self, file: File, sha256: str) -> None:
        """Somebody knows it: it has not to be found out."""
        self._known.keep(f"sha256 {file.stamp}", sha256)

    def known_sha256(self, file: File) -> str:
        """ "" as long as it was not found out."""
        return self._known.get(f"sha256 {file.stamp}") or ""

    def sha256_here(self, file: File) -> str:
        """Of a file that is on this machine, or was; "" for any other, and for a damaged one."""
        if not (sha256 := self.known_sha256(file)):
            with suppress(LoraUnreadable, NotFound, StorageError):
                return self.sha256(file) if self.here(file) else ""
        return sha256

    def here(self, file: File) -> Path | None:
        """Where it lies on this machine, if it does."""
        if file.built_in:
            return Path(file.key)
        return self._copies.find(file.stamp) or self._own(file)

    def path(self, file: File) -> Path:
        """A local file with its tensors. Raises ObjectNotFound, StorageError, LoraUnreadable."""
        return self._own(file) or self._copies.get(self.source(file))

    def fetch_later(self, file: File, moved: Callable[[], File | None]) -> Fetching:
        """Have it here, with its hash, without waiting for that; `moved` says where it is if it
        is gone."""
        with self._lock:
            job = self._fetches.get(file.stamp)
            if job is None or job.done():
                job = self._fetchers.submit(self._fetched, file, moved)
                self._fetches[file.stamp] = job
        return Fetching(job, partial(self._copies.progress, file.stamp))

    def _fetched(self, file: File, moved: Callable[[], File | None]) -> str:
        try:
            if self._own(file) is None:
                self._copies.get(self.source(file), self._go_on)
        except ObjectNotFound:
            if (found := moved()) is None:
                raise
            file = found
        return self.sha256(file)

    def _go_on(self, done: int, total: int) -> None:
        if self._closing.is_set():  # what is here stays, and the next process takes the rest
            raise StorageUnavailable("fluxui was stopped.")

    def fetch(self, source: Source, on_progress: OnProgress) -> Path:
        """A copy of a file from elsewhere."""
        return self._copies.get(source, on_progress)

    def source(self, file: File) -> Source:
        """A file of the storage, as something to be copied."""

        def head() -> BinaryIO:
            with self._opened(file) as stream:
                return read_head(stream)

        def start(at: int) -> BinaryIO:
            stream = self._opened(file)
            if at:
                stream.seek(at)
            return stream

        name = file.key.rpartition("/")[2]
        return Source(name, file.size, file.stamp, start, head, origin={"key": file.key})

    def _opened(self, file: File) -> BinaryIO:
        if file.built_in:
            return Path(file.key).open("rb")
        stream = self._shelf.open(file.key)
        self._remote = not isinstance(getattr(stream, "name", None), str)
        return stream

    def _own(self, file: File) -> Path | None:
        """Its path in a storage that is a folder of this machine."""
        if file.built_in:
            return Path(file.key)
        if self._remote:
            return None
        with self._opened(file) as stream:
            return None if self._remote else Path(stream.name)


def _frozen(value: Any) -> Any:
    """JSON knows no tuples."""
    return tuple(value) if isinstance(value, list) else value


@cache
def _code() -> str:
    """Of the files of this folder: what other code had found out is found out again."""
    texts = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:16]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
