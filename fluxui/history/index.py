"""What pages, searches and totals need to know of every record, in memory.

Found answers are kept up to date while records come and go, so that asking the same again costs
nothing, however large the history. It knows no file and no TinyDB, only document ids: they grow,
so newest first is descending ids.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from sys import intern
from typing import Any

from fluxui.generation import Status
from fluxui.history import Kept, Meter, Query

ANSWERS = 32
SEEDS = 2**64
ENDED = frozenset(status.value for status in Status if status.ended)

Test = Callable[["Row"], bool]
Counters = dict[str, list[int]]  # images, bytes


@dataclass(frozen=True, slots=True)
class Row:
    """What a page needs to know of a record without reading it.

    `created` is a Unix time, `month` its `2026-11` in UTC.
    """

    job_id: str
    status: str
    words: str
    model_ids: tuple[str, ...]
    loras: tuple[str, ...]
    base_model: str
    size: tuple[int, int]
    seed: int
    created: float
    month: str
    images: int
    favourites: int
    bytes: int
    tags: tuple[str, ...]
    idempotency_key: str
    visitor: str


@dataclass
class Answer:
    """The ids that a query found, ascending, and how many images they have."""

    tests: list[Test]
    favourite: bool
    ids: list[int] = field(default_factory=list)
    images: int = 0

    def matches(self, row: Row) -> bool:
        return all(test(row) for test in self.tests)

    def count(self, row: Row, sign: int) -> None:
        self.images += sign * (row.favourites if self.favourite else row.images)


class Index:
    """The rows by document id, in any order, and what is asked of them. Its owner has the lock."""

    def __init__(self, rows: Iterable[tuple[int, Row]] = ()) -> None:
        self.rows: dict[int, Row] = {}
        self.doc_ids: dict[str, int] = {}
        self.keys: dict[str, str] = {}
        self._answers: dict[Query, Answer] = {}
        self._everything = Answer([], favourite=False)
        self._counters = _Counters()
        for doc_id, row in rows:
            self._note(doc_id, row)
            self._everything.count(row, 1)
        self._everything.ids = sorted(self.rows)

    @property
    def order(self) -> list[int]:
        """Every id, ascending; not to be changed."""
        return self._everything.ids

    def enter(self, doc_id: int, row: Row) -> None:
        self._note(doc_id, row)
        for answer in (self._everything, *self._answers.values()):
            if answer.matches(row):
                insort(answer.ids, doc_id)
                answer.count(row, 1)

    def leave(self, doc_id: int) -> None:
        row = self.rows.pop(doc_id)
        del self.doc_ids[row.job_id]
        self.keys.pop(row.idempotency_key, None)
        self._counters.count(row, -1)
        for answer in (self._everything, *self._answers.values()):
            if answer.matches(row):
                del answer.ids[bisect_left(answer.ids, doc_id)]
                answer.count(row, -1)

    def find(self, query: Query) -> Answer:
        """What matches, to be read only. The order of the query is its asker's business."""
        tests = list(_tests(query))
        if not tests:
            return self._everything
        query = replace(query, oldest=False)  # which turns around what is found here
        if query not in self._answers:
            if len(self._answers) >= ANSWERS:
                del self._answers[next(iter(self._answers))]
            self._answers[query] = self._search(query, tests)
        return self._answers[query]

    def unfinished(self) -> list[int]:
        return [doc_id for doc_id in self.order if self.rows[doc_id].status not in ENDED]

    def meter(self) -> Meter:
        return self._counters.meter()

    def _note(self, doc_id: int, row: Row) -> None:
        self.rows[doc_id] = row
        self.doc_ids[row.job_id] = doc_id
        if row.idempotency_key:
            self.keys[row.idempotency_key] = row.job_id
        self._counters.count(row, 1)

    def _search(self, query: Query, tests: list[Test]) -> Answer:
        answer = Answer(tests, query.favourite, self.order)
        rows = self.rows
        # One pass for each test over what the ones before it left: the cheap ones come first.
        for test in tests:
            answer.ids = [doc_id for doc_id in answer.ids if test(rows[doc_id])]
        for doc_id in answer.ids:
            answer.count(rows[doc_id], 1)
        return answer


class _Counters:
    """Images and bytes that are kept, by each name that the meter has."""

    def __init__(self) -> None:
        self._total = [0, 0]
        self._months: Counters = {}
        self._loras: Counters = {}
        self._visitors: Counters = {}

    def count(self, row: Row, sign: int) -> None:
        if not row.images:
            return
        counted = [
            self._total,
            self._months.setdefault(row.month, [0, 0]),
            self._visitors.setdefault(row.visitor, [0, 0]),
        ]
        counted += [self._loras.setdefault(model_id, [0, 0]) for model_id in row.model_ids]
        for one in counted:
            one[0] += sign * row.images
            one[1] += sign * row.bytes

    def meter(self) -> Meter:
        by = (self._months, self._loras, self._visitors)
        return Meter(
            Kept(*self._total),
            *({name: Kept(*one) for name, one in names.items() if one[0]} for names in by),
        )


def row_of(record: Mapping[str, Any]) -> Row | None:
    """None for a record that is not one of ours any more: a stranger may have edited the file."""
    try:
        return index(record)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        return None


def index(record: Mapping[str, Any]) -> Row:
    """The row of a record as `Generation.record` gives it."""
    request, loras, images = record["request"], record["loras"], record["images"]
    prompt, painted = request["prompt"], record["painted"]
    texts = [painted if prompt in painted else f"{prompt}\n{painted}"]
    texts += [lora["name"] for lora in loras]
    created = record["created_at"].replace("Z", "+00:00")  # Python 3.10 reads no Z
    return Row(
        job_id=record["id"],
        status=intern(record["status"]),
        words=folded("\n".join(texts)),
        model_ids=_distinct("model_id", request["loras"] + loras),
        loras=_distinct("sha256", loras),
        base_model=intern(record["base_model"]),
        size=_shared((request["width"], request["height"])),
        seed=request["seed"],
        created=datetime.fromisoformat(created).timestamp(),
        month=intern(created[:7]),
        images=len(images),
        favourites=len([1 for image in images if image.get("favourite")]),
        bytes=sum([image["bytes"] for image in images]),
        tags=_shared(tuple([folded(tag) for tag in record.get("tags", ())])),
        idempotency_key=record["idempotency_key"],
        visitor=intern(record.get("visitor", "")),
    )


def folded(text: str) -> str:
    """So that É finds é, however it was typed."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text).casefold()


@lru_cache(4096)
def _shared(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """One tuple for all rows that say the same."""
    return values


def _distinct(name: str, uses: list[dict[str, Any]]) -> tuple[str, ...]:
    return _shared(tuple(dict.fromkeys([use[name] for use in uses]))) if uses else ()


def _tests(query: Query) -> Iterator[Test]:
    """One for each thing that the query asks, the cheap ones first."""
    if query.status is not None:
        status = query.status.value
        yield lambda row: row.status == status
    if query.visitor is not None:
        yield lambda row: row.visitor == query.visitor
    if query.favourite:
        yield lambda row: row.favourites > 0
    if query.base_model:
        yield lambda row: row.base_model == query.base_model
    if query.width is not None:
        yield lambda row: row.size[0] == query.width
    if query.height is not None:
        yield lambda row: row.size[1] == query.height
    if query.since:
        since = query.since.timestamp()
        yield lambda row: row.created >= since
    if query.until:
        until = query.until.timestamp()
        yield lambda row: row.created < until
    yield from _tests_of_lists(query)


def _tests_of_lists(query: Query) -> Iterator[Test]:
    if (seed := query.seed) is not None:
        yield lambda row: row.seed == seed or (seed - row.seed) % SEEDS < row.images
    if query.model_id:
        yield lambda row: query.model_id in row.model_ids
    if query.lora:
        yield lambda row: any(sha256.startswith(query.lora) for sha256 in row.loras)
    if query.tag:
        tag = folded(query.tag)
        yield lambda row: tag in row.tags
    for word in folded(query.words).split():
        yield _contains(word)


def _contains(word: str) -> Test:
    return lambda row: word in row.words
