"""The history in one TinyDB file: a table of records, and an index of it in memory.

The index answers pages, searches and totals without parsing a record; only what is returned is
parsed and checked. Document ids grow, so newest first is descending ids and a cursor is an id.
"""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, MutableMapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from tinydb.table import Document

from fluxui.errors import GenerationNotFound, HistoryDamaged
from fluxui.generation import Generation
from fluxui.history import Choices, Meter, Page, Query
from fluxui.history.format import encode
from fluxui.history.index import Index, Row, index, row_of
from fluxui.history.journal import JournalStorage
from fluxui.history.table import JournalDatabase

Value = TypeVar("Value", bound=Hashable)

TABLE = "generations"
MARKS = "marks"

_log = logging.getLogger(__name__)


class TinyHistory:
    """The History of `path`. `set_aside` is where a damaged file was copied to, if it was one.

    Raises HistoryLocked, HistoryReadOnly.
    """

    def __init__(self, path: Path) -> None:
        rows: dict[int, Row | None] = {}

        def seen(table: str, doc_id: int, document: Any) -> None:
            if table == TABLE:
                rows[doc_id] = row_of(document)

        storage = JournalStorage(path, seen=seen)
        self.set_aside = storage.set_aside
        self._lock = storage.lock
        self._database = JournalDatabase(storage=lambda: storage)
        self._table = self._database.table(TABLE)
        self._marks = self._database.table(MARKS)
        self._removed: dict[str, int] = {}
        self._index = Index(_readable_rows({key: rows[key] for key in storage.texts(TABLE)}))
        self._incomplete = bool(self.set_aside or self._marks or not self._index.rows)

    def add(self, generation: Generation) -> None:
        """One that is known is replaced: there are never two records of one generation."""
        record = generation.record()
        with self._lock:
            if generation.id in self._index.doc_ids:
                return self.replace(generation)
            former = self._removed.get(generation.id)
            doc_id = self._table.insert(Document(record, former) if former else record)
            self._removed.pop(generation.id, None)
            self._index.enter(doc_id, index(record))

    def replace(self, generation: Generation) -> None:
        record = generation.record()
        with self._lock:
            doc_id = self._doc_id(generation.id)
            self._table.update(partial(_become, record), doc_ids=[doc_id])
            self._index.leave(doc_id)
            self._index.enter(doc_id, index(record))

    def get(self, job_id: str) -> Generation:
        with self._lock:
            document = self._table.get(doc_id=self._doc_id(job_id))
        try:
            return Generation.model_validate(document)
        except ValidationError as error:
            raise HistoryDamaged(f"The record of {job_id} can't be read.") from error

    def find(self, idempotency_key: str) -> Generation | None:
        with self._lock:
            job_id = self._index.keys.get(idempotency_key)
            return self.get(job_id) if job_id else None

    def unfinished(self) -> list[Generation]:
        with self._lock:
            return [generation for _, generation in self._readable(self._index.unfinished())]

    def page(self, query: Query, cursor: str = "", limit: int = 48) -> Page:
        """A cursor that is not ours starts at the beginning."""
        with self._lock:
            answer = self._index.find(query)
            begin, end = _window(answer.ids, cursor, query.oldest)
            if query.oldest:
                ids = answer.ids[begin : min(begin + limit, end)]
            else:
                ids = answer.ids[max(begin, end - limit) : end][::-1]
            shown = list(self._readable(ids))
            return Page(
                generations=[generation for _, generation in shown],
                cursor=str(ids[-1]) if 0 < len(ids) < end - begin else "",
                cursors=tuple(str(doc_id) for doc_id, _ in shown),
                total=len(answer.ids),
                images=answer.images,
            )

    def choices(self, query: Query) -> Choices:
        with self._lock:
            rows = [self._index.rows[doc_id] for doc_id in self._index.find(query).ids]
        return Choices(
            sizes=_by_count(row.size for row in rows),
            base_models=_by_count(row.base_model for row in rows),
            visitors=_by_count(row.visitor for row in rows),
        )

    def remove(self, job_id: str) -> None:
        with self._lock:
            doc_id = self._doc_id(job_id)
            self._table.remove(doc_ids=[doc_id])
            self._index.leave(doc_id)
            # An undo puts it back where it was.
            self._removed[job_id] = doc_id

    def knows(self, job_id: str) -> bool:
        return job_id in self._index.doc_ids

    def merge(self, generations: Iterable[Generation]) -> int:
        """Ids are given anew, so whoever is in the midst of paging may meet one twice."""
        with self._lock:
            known = {*self._index.doc_ids, *self._removed}
            lacking = {one.id: one for one in generations if one.id not in known}
            if lacking:
                new = sorted(lacking.values(), key=lambda one: one.created_at)
                self._renumber([one.record() for one in new])
            return len(lacking)

    def _renumber(self, new: list[dict[str, Any]]) -> None:
        """Write all anew, with `new` among the others; ids of removed ones stay taken."""
        texts, rows, removed = {}, {}, {}
        places = {doc_id: job_id for job_id, doc_id in self._removed.items()}
        former = sorted({*self._table.texts, *places})
        waiting = [(index(record), encode(record)) for record in reversed(new)]
        doc_id = 0
        for old in former:
            row = self._index.rows.get(old)
            while row and waiting and waiting[-1][0].created < row.created:
                doc_id += 1
                rows[doc_id], texts[doc_id] = waiting.pop()
            doc_id += 1
            if row:
                rows[doc_id] = row
            if old in self._table.texts:
                texts[doc_id] = self._table.texts[old]
            if old in places:
                removed[places[old]] = doc_id
        for row, text in reversed(waiting):
            doc_id += 1
            rows[doc_id], texts[doc_id] = row, text
        self._table.replace(texts)
        self._index = Index(rows.items())
        self._removed = removed

    @property
    def incomplete(self) -> bool:
        return self._incomplete

    def mark(self, incomplete: bool) -> None:
        with self._lock:
            self._incomplete = incomplete
            if not incomplete:
                self._marks.remove(doc_ids=[mark.doc_id for mark in self._marks])
            elif not self._marks:
                self._marks.insert({"incomplete": True})

    def meter(self) -> Meter:
        with self._lock:
            return self._index.meter()

    def close(self) -> None:
        self._database.close()

    def _doc_id(self, job_id: str) -> int:
        if job_id not in self._index.doc_ids:
            raise GenerationNotFound(job_id)
        return self._index.doc_ids[job_id]

    def _readable(self, doc_ids: Iterable[int]) -> Iterator[tuple[int, Generation]]:
        found = ((doc_id, self._read(self._index.rows[doc_id].job_id)) for doc_id in doc_ids)
        return ((doc_id, generation) for doc_id, generation in found if generation)

    def _read(self, job_id: str) -> Generation | None:
        try:
            return self.get(job_id)
        except HistoryDamaged as error:
            # One record that somebody edited must not hide the others.
            _log.warning("%s", error)
            return None


def _by_count(values: Iterable[Value]) -> tuple[Value, ...]:
    return tuple(value for value, _ in Counter(values).most_common())


def _readable_rows(rows: Mapping[int, Row | None]) -> Iterator[tuple[int, Row]]:
    for doc_id, row in rows.items():
        if row:
            yield doc_id, row
        else:
            _log.warning("Record %d of the history can't be read.", doc_id)


def _become(record: Mapping[str, Any], document: MutableMapping[str, Any]) -> None:
    document.clear()
    document.update(record)


def _window(ids: list[int], cursor: str, oldest: bool) -> tuple[int, int]:
    """From where to where `ids`, ascending, follow after the cursor."""
    if not cursor.isdecimal():
        return 0, len(ids)
    at = int(cursor)
    return (bisect_right(ids, at), len(ids)) if oldest else (0, bisect_left(ids, at))
