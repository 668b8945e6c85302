"""The history in one TinyDB file: a table of records, and a small index of it in memory.

The index answers pages, searches and totals without parsing a record; only what is returned is
parsed and checked. Document ids grow, so newest first is descending ids and a cursor is an id.
"""

from __future__ import annotations

import logging
import unicodedata
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from tinydb.table import Document

from fluxui.errors import GenerationNotFound, HistoryDamaged
from fluxui.generation import Generation, Status
from fluxui.history import Page, Query
from fluxui.history.journal import JournalStorage
from fluxui.history.table import JournalDatabase

TABLE = "generations"
ANSWERS = 16

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Row:
    """What a page needs to know of a record without reading it."""

    job_id: str
    status: str
    words: str
    model_ids: tuple[str, ...]
    images: int
    idempotency_key: str
    visitor: str


class TinyHistory:
    """The History of `path`. `set_aside` is where a damaged file was copied to, if it was one.

    Raises HistoryLocked, HistoryReadOnly.
    """

    def __init__(self, path: Path) -> None:
        storage = JournalStorage(path)
        self.set_aside = storage.set_aside
        self._lock = storage.lock
        self._database = JournalDatabase(storage=lambda: storage)
        self._table = self._database.table(TABLE)
        self._rows: dict[int, _Row] = {}
        self._doc_ids: dict[str, int] = {}
        self._keys: dict[str, str] = {}
        self._removed: dict[str, int] = {}
        self._images = 0
        # What queries found since the last change: paging asks the same one again and again.
        self._answers: dict[Query, tuple[list[int], int]] = {}
        for document in self._table:
            if row := _row(document):
                self._enter(document.doc_id, row)
            else:
                _log.warning("Record %d of the history can't be read.", document.doc_id)
        self._order = sorted(self._rows)

    def add(self, generation: Generation) -> None:
        """One that is known is replaced: there are never two records of one generation."""
        record = generation.record()
        with self._lock:
            if generation.id in self._doc_ids:
                return self.replace(generation)
            former = self._removed.get(generation.id)
            doc_id = self._table.insert(Document(record, former) if former else record)
            self._removed.pop(generation.id, None)
            self._enter(doc_id, _index(record))
            insort(self._order, doc_id)

    def replace(self, generation: Generation) -> None:
        record = generation.record()
        with self._lock:
            doc_id = self._doc_id(generation.id)
            self._table.update(partial(_become, record), doc_ids=[doc_id])
            self._leave(doc_id)
            self._enter(doc_id, _index(record))

    def get(self, job_id: str) -> Generation:
        with self._lock:
            document = self._table.get(doc_id=self._doc_id(job_id))
        try:
            return Generation.model_validate(document)
        except ValidationError as error:
            raise HistoryDamaged(f"The record of {job_id} can't be read.") from error

    def find(self, idempotency_key: str) -> Generation | None:
        with self._lock:
            job_id = self._keys.get(idempotency_key)
            return self.get(job_id) if job_id else None

    def unfinished(self) -> list[Generation]:
        ended = {status.value for status in Status if status.ended}
        with self._lock:
            waiting = [key for key in self._order if self._rows[key].status not in ended]
            return [generation for _, generation in self._readable(waiting)]

    def page(self, query: Query, cursor: str = "", limit: int = 48) -> Page:
        """A cursor that is not ours starts at the newest."""
        with self._lock:
            found, images = self._find(query)
            end = bisect_left(found, int(cursor)) if cursor.isdecimal() else len(found)
            start = max(end - limit, 0)
            shown = list(self._readable(reversed(found[start:end])))
            return Page(
                generations=[generation for _, generation in shown],
                cursor=str(found[start]) if 0 < start < end else "",
                cursors=tuple(str(doc_id) for doc_id, _ in shown),
                total=len(found),
                images=images,
            )

    def remove(self, job_id: str) -> None:
        with self._lock:
            doc_id = self._doc_id(job_id)
            self._table.remove(doc_ids=[doc_id])
            self._leave(doc_id)
            del self._order[bisect_left(self._order, doc_id)]
            # An undo puts it back where it was.
            self._removed[job_id] = doc_id

    def close(self) -> None:
        self._database.close()

    def _doc_id(self, job_id: str) -> int:
        if job_id not in self._doc_ids:
            raise GenerationNotFound(job_id)
        return self._doc_ids[job_id]

    def _readable(self, doc_ids: Iterable[int]) -> Iterator[tuple[int, Generation]]:
        found = ((doc_id, self._read(self._rows[doc_id].job_id)) for doc_id in doc_ids)
        return ((doc_id, generation) for doc_id, generation in found if generation)

    def _read(self, job_id: str) -> Generation | None:
        try:
            return self.get(job_id)
        except HistoryDamaged as error:
            # One record that somebody edited must not hide the others.
            _log.warning("%s", error)
            return None

    def _find(self, query: Query) -> tuple[list[int], int]:
        """The ids, ascending, and how many images they have."""
        if query == Query():
            return self._order, self._images
        if query not in self._answers:
            if len(self._answers) >= ANSWERS:
                self._answers.clear()
            self._answers[query] = self._search(query)
        return self._answers[query]

    def _search(self, query: Query) -> tuple[list[int], int]:
        words = _folded(query.words).split()
        found = []
        images = 0
        for doc_id in self._order:
            row = self._rows[doc_id]
            if _matches(row, query, words):
                found.append(doc_id)
                images += row.images
        return found, images

    def _enter(self, doc_id: int, row: _Row) -> None:
        self._answers.clear()
        self._rows[doc_id] = row
        self._doc_ids[row.job_id] = doc_id
        if row.idempotency_key:
            self._keys[row.idempotency_key] = row.job_id
        self._images += row.images

    def _leave(self, doc_id: int) -> None:
        self._answers.clear()
        row = self._rows.pop(doc_id)
        del self._doc_ids[row.job_id]
        self._keys.pop(row.idempotency_key, None)
        self._images -= row.images


def _become(record: Mapping[str, Any], document: MutableMapping[str, Any]) -> None:
    document.clear()
    document.update(record)


def _row(document: Mapping[str, Any]) -> _Row | None:
    """None for a record that is not one of ours any more: a stranger may have edited the file."""
    try:
        return _index(document)
    except (KeyError, TypeError, AttributeError):
        return None


def _index(record: Mapping[str, Any]) -> _Row:
    request, loras = record["request"], record["loras"]
    prompt, painted = request["prompt"], record["painted"]
    texts = [painted if prompt in painted else f"{prompt}\n{painted}"]
    texts += [lora["name"] for lora in loras]
    return _Row(
        job_id=record["id"],
        status=record["status"],
        words=_folded("\n".join(texts)),
        model_ids=tuple(_distinct(request["loras"], loras)),
        images=len(record["images"]),
        idempotency_key=record["idempotency_key"],
        visitor=record.get("visitor", ""),
    )


def _distinct(*uses: list[dict[str, Any]]) -> Iterator[str]:
    return iter(dict.fromkeys(use["model_id"] for part in uses for use in part))


def _folded(text: str) -> str:
    """So that É finds é, however it was typed."""
    return unicodedata.normalize("NFKC", text).casefold()


def _matches(row: _Row, query: Query, words: list[str]) -> bool:
    return (
        (not query.model_id or query.model_id in row.model_ids)
        and (query.status is None or query.status.value == row.status)
        and (query.visitor is None or query.visitor == row.visitor)
        and all(word in row.words for word in words)
    )
