"""What is remembered between two looks at a storage, and what a silent one can't take away."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from fluxui.errors import LoraNotFound, StorageUnavailable
from fluxui.loras.files import Listed
from fluxui.loras.library import Library
from fluxui.loras.listing import AWAY_SECONDS
from fluxui.pipeline.base_models import CATALOGUE
from fluxui.storage.local import LocalStorage
from tests.loras.truth import kohya, pairs

Write = Callable[..., Path]


class Moody(LocalStorage):
    """A storage that counts what it is asked, and can go silent or lose a file."""

    away = False
    lost = ""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: list[str] = []

    def list(self, prefix: str) -> Iterator[Listed]:
        self._answer(f"list {prefix}")
        return super().list(prefix)

    def open(self, key: str) -> BinaryIO:
        self._answer(key)
        return super().open("nothing" if key == self.lost else key)

    def _answer(self, what: str) -> None:
        self.asked.append(what)
        if self.away:
            raise StorageUnavailable("The bucket does not answer.")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The hour, as the listing sees it."""
    now = [1000.0]
    monkeypatch.setattr("fluxui.loras.listing.time.monotonic", lambda: now[0])
    return now


@pytest.fixture
def moody(tmp_path: Path) -> Moody:
    return Moody(tmp_path / "home")


@pytest.fixture
def library(moody: Moody, tmp_path: Path) -> Library:
    return Library(moody, tmp_path / "cache", CATALOGUE["tiny"], tmp_path / "none")


def ids(library: Library) -> list[str]:
    return [lora.model_id for lora in library.list()]


def test_a_card_is_read_once_until_it_changes(
    library: Library, moody: Moody, lora_file: Write
) -> None:
    library.import_file(lora_file(kohya(pairs())), "mine", name="Mine")
    library.list()
    moody.asked.clear()
    for _ in range(3):
        assert library.list()[0].name == "Mine"
    assert moody.asked == ["list models/"] * 3
    moody.put("models/mine/model.json", json.dumps({"name": "Another"}).encode(), "")
    assert library.list()[0].name == "Another"


def test_one_lora_is_looked_up_without_listing_each_time(
    library: Library, moody: Moody, lora_file: Write, clock: list[float]
) -> None:
    library.import_file(lora_file(kohya(pairs())), "mine")
    library.get("mine")
    moody.asked.clear()
    library.get("mine")
    assert moody.asked == []
    clock[0] += 6
    library.get("mine")
    assert moody.asked == ["list models/"]


def test_a_silent_bucket_keeps_its_loras_and_is_left_alone(
    library: Library, moody: Moody, lora_file: Write, clock: list[float]
) -> None:
    library.import_file(lora_file(kohya(pairs())), "mine", name="Mine")
    assert ids(library) == ["mine"]
    moody.away = True
    moody.asked.clear()
    for _ in range(5):
        assert ids(library) == ["mine"]
        assert library.get("mine").name == "Mine"
    assert moody.asked == ["list models/"]
    with pytest.raises(LoraNotFound):
        library.get("another")
    moody.away = False
    moody.put("models/new/new.safetensors", lora_file(kohya(pairs())).read_bytes(), "")
    assert ids(library) == ["mine"]
    clock[0] += AWAY_SECONDS
    assert ids(library) == ["mine", "new"]


def test_a_file_that_goes_meanwhile_is_left_out(
    library: Library, moody: Moody, lora_file: Write
) -> None:
    for name in ("one", "two"):
        moody.put(f"models/{name}.safetensors", lora_file(kohya(pairs())).read_bytes(), "")
    moody.lost = "models/one.safetensors"
    assert ids(library) == ["two"]
