"""A TinyDB table over the journal: it writes only what changed, and reads only what is asked for.

TinyDB hands every change through one funnel, `_update_table`. It knows no files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, cast

from tinydb import TinyDB
from tinydb.table import Table

from fluxui.history.format import Texts, encode
from fluxui.history.journal import JournalStorage


class JournalTable(Table):
    """A table that hands its storage only what changed, and reads only what is asked for."""

    storage: JournalStorage

    @property
    def texts(self) -> Texts:
        """The JSON of every document by its id, not to be changed."""
        return self.storage.texts(self.name)

    def replace(self, texts: Texts) -> None:
        """All documents at once, by their ids. Raises StorageFull, HistoryReadOnly."""
        with self.storage.lock:
            self.storage.replace(self.name, texts)
            self._next_id = None  # the next one follows the largest
            self.clear_cache()

    def insert(self, document: Mapping[str, Any]) -> int:
        with self.storage.lock:
            return super().insert(document)

    def _read_table(self) -> dict[str, Mapping[str, Any]]:
        return cast("dict[str, Mapping[str, Any]]", _View(self.storage.texts(self.name)))

    def _update_table(self, updater: Callable[[dict[int, Mapping[str, Any]]], None]) -> None:
        with self.storage.lock:
            draft = _Draft(self.storage.texts(self.name))
            updater(cast("dict[int, Mapping[str, Any]]", draft))
            if changes := draft.changes():
                self.storage.commit(self.name, changes)
            self.clear_cache()


class _View(Mapping[str, Any]):
    """A table as TinyDB reads it: ids are strings, and every document is parsed when met."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts

    def __getitem__(self, doc_id: str) -> Any:
        return json.loads(self._texts[int(doc_id)])

    def __iter__(self) -> Iterator[str]:
        return map(str, list(self._texts))

    def __len__(self) -> int:
        return len(self._texts)

    def items(self) -> Any:
        # A snapshot: another thread may remove one while this one reads.
        return ((str(doc_id), json.loads(text)) for doc_id, text in list(self._texts.items()))


class _Draft(MutableMapping[int, Any]):
    """A table as TinyDB changes it. Only documents that are touched are parsed and compared."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._touched: dict[int, Any] = {}
        self._removed: set[int] = set()

    def __getitem__(self, doc_id: int) -> Any:
        if doc_id not in self:
            raise KeyError(doc_id)
        if doc_id not in self._touched:
            self._touched[doc_id] = json.loads(self._texts[doc_id])
        return self._touched[doc_id]

    def __setitem__(self, doc_id: int, document: Any) -> None:
        self._removed.discard(doc_id)
        self._touched[doc_id] = document

    def __delitem__(self, doc_id: int) -> None:
        if doc_id not in self:
            raise KeyError(doc_id)
        self._touched.pop(doc_id, None)
        self._removed.add(doc_id)

    def __contains__(self, doc_id: object) -> bool:
        known = doc_id in self._touched or doc_id in self._texts
        return known and doc_id not in self._removed

    def __iter__(self) -> Iterator[int]:
        return (doc_id for doc_id in {**self._texts, **self._touched} if doc_id in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def clear(self) -> None:
        self._touched.clear()
        self._removed.update(self._texts)

    def changes(self) -> dict[int, str | None]:
        """Raises ValueError or TypeError for what JSON can't hold, before anything is written."""
        gone: dict[int, str | None] = {key: None for key in self._removed if key in self._texts}
        new = {key: encode(document) for key, document in self._touched.items()}
        return gone | {key: text for key, text in new.items() if self._texts.get(key) != text}


class JournalDatabase(TinyDB):
    """A TinyDB, to be opened with `storage=JournalStorage`."""

    table_class = JournalTable

    def table(self, name: str, **kwargs: Any) -> JournalTable:
        return cast(JournalTable, super().table(name, **kwargs))
