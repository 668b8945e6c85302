"""A clock that jumps by a day, there and back: order and durations stay right, nothing is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from fluxui.generation import Generation, Status
from fluxui.storage import folder_of
from tests.faults.killing import Nursery, Promises

JUMPS = ("+1d", "-1d", "+0", "-1d", "+1d")
SECONDS = 0.25  # between two jumps of the first life; each is longer than the one before
LIVES, ENOUGH = 12, 40  # two, and more where the machine is slow


@pytest.fixture
def library() -> Path:
    """The one that `faketime` preloads; it is in most distributions."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        if os.environ.get("CI"):
            pytest.fail("CI needs faketime.")
        pytest.skip("faketime is not installed: apt-get install faketime")
    return found[0]


@pytest.fixture
def nursery(library: Path, tmp_path: Path) -> Iterator[Nursery]:
    (tmp_path / "clock").write_text("+0")
    faked = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(tmp_path / "clock"),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # no jump of the clock moves that one
    }
    with Nursery("clock", **faked) as nursery:
        yield nursery


def test_a_clock_that_jumps(nursery: Nursery, tmp_path: Path) -> None:
    folder = tmp_path / "house"
    folder.mkdir()
    promises = Promises(folder)

    def jump(seconds: float) -> None:
        for offset in JUMPS:
            time.sleep(seconds)
            (tmp_path / "clock").write_text(offset)

    for life in range(LIVES):
        seconds = SECONDS * (life + 1)
        jumping = threading.Thread(target=jump, args=(seconds,))
        jumping.start()
        lines, end = nursery.live(seconds * (len(JUMPS) + 1), folder=str(folder), life=life)
        jumping.join()
        assert end == -signal.SIGKILL
        promises.hear(lines)
        if life and len(promises.accepted) > ENOUGH and jumped(promises.records()):
            break
    assert nursery.live(folder=str(folder), life=LIVES, last=True) == ([], 0)
    assert promises.ended()["completed"] > 10
    assert_told_right(promises.records())
    assert promises.compare(nursery, tmp_path / "calm")


def jumped(records: list[Generation]) -> bool:
    """Whether something was asked for on each of the three days."""
    days = {one.created_at.date() for one in records}
    today = datetime.now(timezone.utc).date()
    return {today - timedelta(1), today, today + timedelta(1)} <= days


def assert_told_right(records: list[Generation]) -> None:
    assert jumped(records)
    order = [tuple(map(int, one.idempotency_key.split("."))) for one in records]
    assert order == sorted(order)
    for one in records:
        assert one.seconds is None or 0 <= one.seconds < 10
        if one.status is Status.completed:
            assert one.images[0].key.startswith(folder_of(one))
