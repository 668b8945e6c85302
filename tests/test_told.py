from __future__ import annotations

from pathlib import Path

import pytest

from fluxui.generation import now
from fluxui.told import Told


def test_what_is_over_is_known_after_a_restart(tmp_path: Path) -> None:
    before = now()
    told = Told(tmp_path)
    for name in ("a", "b"):
        told.add(name)
    again = Told(tmp_path)
    assert again.since == told.since and before <= told.since <= now()
    assert "a" in again and "b" in again and "c" not in again


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_line_that_was_cut_off_hurts_no_other(tmp_path: Path, cut: int) -> None:
    told = Told(tmp_path)
    told.add("first-name")
    path = tmp_path / "told.txt"
    told.add("second-name")
    path.write_bytes(path.read_bytes()[:-cut])
    again = Told(tmp_path)
    again.add("third-name")
    last = Told(tmp_path)
    assert "first-name" in last and "third-name" in last and "second-name" not in last


def test_it_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxui.told.MAX_LINES", 10)
    told = Told(tmp_path)
    for number in range(100):
        told.add(str(number))
        assert len((tmp_path / "told.txt").read_text().split()) <= 10
    again = Told(tmp_path)
    assert all(str(number) in again for number in range(96, 100))
    assert again.since == told.since
