"""kill -9 at any instant: what was acknowledged is there, and nothing else is."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fluxui.history.journal import JournalStorage
from fluxui.history.table import JournalDatabase
from fluxui.storage.local import LocalStorage
from fluxui.storage.spool import SpooledStorage

KILLS = 6
ROOT = Path(__file__).parents[2]


def acknowledged(program: str, *arguments: object) -> list[str]:
    """Run one of the programs beside this file, kill it at a random moment, give its lines."""
    command = [sys.executable, "-m", f"tests.faults.{program}", *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as output:
        assert output.readline() == "ready\n"
        time.sleep(random.uniform(0.01, 0.3))
        process.kill()
        lines = output.read().split("\n")
    process.wait()
    return lines[:-1]  # the last one has no end: it was cut off, or it is empty


def test_the_history_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    expected: dict[str, str] = {}
    seen = 0
    for kill in range(KILLS):
        # An operation in flight may or may not be there: its key says which one it was.
        lines = acknowledged("writer", path, kill)
        flying: set[str] = set()
        for line in lines:
            word, _, rest = line.partition(" ")
            key, _, value = rest.partition(" ")
            if word == "begin":
                flying = {key}
            else:
                flying = set()
                expected[key] = value
                seen += 1
        with JournalDatabase(path, 20_000, storage=JournalStorage) as database:
            assert database.storage.set_aside is None
            found = {doc["key"]: str(doc["value"]) for doc in database}
        kept = {key: value for key, value in expected.items() if value != "removed"}
        differing = {key for key, _ in found.items() ^ kept.items()}
        assert differing <= flying, (kill, differing)
        expected = dict(found)
    assert seen > 10 * KILLS


def test_an_object_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    for _ in range(KILLS):
        lines = acknowledged("putter", tmp_path / "store")
        storage = LocalStorage(tmp_path / "store")
        (only,) = storage.list("")
        with storage.open(only.key) as stream:
            data = stream.read()
        assert len(data) in (1_000, 500_000) and len(set(data)) == 1
        assert lines


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[LocalStorage]:
    yield LocalStorage(tmp_path / "bucket")


def test_the_spool_delivers_what_it_acknowledged(bucket: LocalStorage, tmp_path: Path) -> None:
    expected: set[str] = set()
    for kill in range(KILLS):
        expected |= set(acknowledged("spooler", tmp_path / "spool", kill))
    spooled = SpooledStorage(bucket, tmp_path / "spool")
    until = time.monotonic() + 60
    while spooled.waiting:
        assert time.monotonic() < until
        time.sleep(0.02)
    spooled.close()
    arrived = {found.key: found.size for found in bucket.list("")}
    assert expected <= arrived.keys() and len(arrived) <= len(expected) + KILLS
    assert set(arrived.values()) == {20_000}
