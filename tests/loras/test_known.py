"""What was found out stays known, and a torn line costs only itself."""

from __future__ import annotations

from pathlib import Path

from fluxui.loras.known import Known


def test_it_outlives_the_process_and_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "known.jsonl"
    known = Known(path)
    known.keep("a", {"fits": True})
    known.keep("b", "1")
    known.keep("b", "2")
    with path.open("a") as file:
        file.write('["c", {"to')
    again = Known(path)
    assert (again.get("a"), again.get("b"), again.get("c")) == ({"fits": True}, "2", None)


def test_it_does_not_grow_by_changes(tmp_path: Path) -> None:
    path = tmp_path / "known.jsonl"
    known = Known(path)
    for count in range(300):
        known.keep("a", count)
    assert Known(path).get("a") == 299
    assert len(path.read_text().splitlines()) == 1


def test_a_disk_that_takes_nothing_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    known = Known(tmp_path / "file" / "known.jsonl")
    known.keep("a", 1)
    assert known.get("a") == 1
