"""Each file is fetched once and whole, and what was used longest ago makes room."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pytest

from fluxui.errors import LoraUnreadable, StorageFull
from fluxui.loras.copies import Copies, Source

DATA = os.urandom(300_000)


class Place:
    """Somewhere that counts who asks it from where."""

    def __init__(self, data: bytes = DATA) -> None:
        self.data = data
        self.asked: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def open(self, start: int) -> BinaryIO:
        self.asked.append(start)
        self.gate.wait(10)
        return BytesIO(self.data[start:])

    def source(self, stamp: str = "one", size: int = 0, sha256: str = "") -> Source:
        size = size or len(self.data)
        return Source("a.safetensors", size, stamp, self.open, lambda: BytesIO(), sha256)


@pytest.fixture
def copies(tmp_path: Path) -> Copies:
    return Copies(tmp_path / "copies")


def test_twenty_at_once_fetch_it_once(copies: Copies) -> None:
    place = Place()
    place.gate.clear()
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(copies.get, place.source()) for _ in range(20)]
        while not place.asked:
            time.sleep(0.01)
        place.gate.set()
        paths = {one.result() for one in asked}
    assert place.asked == [0]
    assert [path.read_bytes() for path in paths] == [DATA]


def test_what_broke_off_goes_on(copies: Copies) -> None:
    place = Place(DATA[:100_000])
    with pytest.raises(LoraUnreadable, match="broke off"):
        copies.get(place.source(size=len(DATA)))
    assert copies.find("one") is None
    place.data = DATA
    sha256 = hashlib.sha256(DATA).hexdigest()
    assert copies.get(place.source(sha256=sha256)).read_bytes() == DATA
    assert place.asked == [0, 100_000]


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"size": 200_000}])
def test_what_is_not_as_announced_is_not_kept(copies: Copies, wrong: dict[str, object]) -> None:
    with pytest.raises(LoraUnreadable, match="announced"):
        copies.get(Place().source(**wrong))  # type: ignore[arg-type]
    assert copies.used_bytes() == 0


def test_what_was_used_longest_ago_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = Copies(tmp_path, limit=700_000)
    for age, stamp in ((300, "old"), (200, "new")):
        os.utime(copies.get(Place().source(stamp)), (time.time() - age,) * 2)
    os.utime(copies.get(Place().source("old")))  # used again
    copies.get(Place().source("third"))
    assert copies.find("new") is None
    assert copies.find("old") and copies.find("third")
    assert copies.used_bytes() == 600_000
    copies.get(Place().source("fourth"))  # the others were handed out a moment ago
    assert copies.find("old") and copies.find("third")


def test_a_disk_without_room_says_so(copies: Copies) -> None:
    with pytest.raises(StorageFull, match="room"):
        copies.get(Place().source(size=2**60))
