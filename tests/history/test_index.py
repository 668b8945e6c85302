from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from typing import Any

from fluxui.generation import Status
from fluxui.history import Kept, Query
from fluxui.history.index import ANSWERS, Index, index, row_of
from tests.history.test_tiny import generation

DAY = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


def record(number: int, **changes: Any) -> dict[str, Any]:
    made = generation(f"number {number}", "abc"[number % 3], number % 4, visitor="xy"[number % 2])
    made = made.model_copy(update={"created_at": DAY - timedelta(days=number % 90), **changes})
    return made.record()


QUERIES = [
    Query(),
    Query(words="number 1"),
    Query(model_id="b", visitor="x"),
    Query(status=Status.completed),
    Query(lora="ab"),
    Query(width=64, height=64, seed=2**64 - 1),
    Query(since=DAY - timedelta(days=9), until=DAY - timedelta(days=2)),
    Query(favourite=True),
    Query(tag="SEA"),
    Query(base_model="other"),
]


def test_answers_stay_right_while_records_come_and_go() -> None:
    draw = random.Random(7)
    kept = Index()
    for query in QUERIES:
        kept.find(query)
    for _ in range(400):
        doc_id = draw.randrange(60)
        if doc_id in kept.rows:
            kept.leave(doc_id)
        if draw.random() < 0.7:
            changes = {"tags": ("Sea",)} if draw.random() < 0.3 else {}
            kept.enter(doc_id, index(record(doc_id, **changes)))
    fresh = Index(kept.rows.items())
    assert fresh.order == kept.order == sorted(kept.rows)
    for query in QUERIES:
        mine, anew = kept.find(query), fresh.find(query)
        assert (mine.ids, mine.images) == (anew.ids, anew.images), query
    assert kept.meter() == fresh.meter()
    assert len(kept.find(Query(tag="sea")).ids) > 0


def test_only_so_many_answers_are_remembered() -> None:
    kept = Index()
    kept.enter(1, index(record(1)))
    for number in range(ANSWERS * 2):
        kept.find(Query(words=f"word {number}"))
    assert len(kept._answers) == ANSWERS
    assert kept.find(Query(words="number 1")).ids == [1]


def test_the_meter_counts_by_month_lora_and_visitor() -> None:
    kept = Index()
    for number in range(4):
        kept.enter(number, index(record(number)))
    meter = kept.meter()
    assert meter.total == Kept(images=6, bytes=6) and meter.months == {"2026-11": Kept(6, 6)}
    assert meter.loras == {"a": Kept(3, 3), "b": Kept(1, 1), "c": Kept(2, 2)}
    assert meter.visitors == {"x": Kept(2, 2), "y": Kept(4, 4)}
    for number in range(4):
        kept.leave(number)
    assert kept.meter().total == Kept() and kept.meter().loras == {}


def test_a_record_of_a_stranger_has_no_row() -> None:
    good = record(1)
    assert row_of(good) is not None
    for changes in ({"request": 1}, {"created_at": "today"}, {"images": [{}]}, {"loras": [1]}):
        assert row_of({**good, **changes}) is None
    assert row_of([]) is None  # type: ignore[arg-type]
    assert row_of({}) is None
