from __future__ import annotations

from fluxui.exchange import export_lines, import_lines
from fluxui.generation import Status
from fluxui.history import Query
from fluxui.history.tiny import TinyHistory
from fluxui.storage.local import LocalStorage
from fluxui.studio import Studio
from tests.conftest import paint
from tests.history.test_tiny import generation


def test_out_and_in_again(
    studio: Studio,
    storage: LocalStorage,
    fresh: TinyHistory,
) -> None:
    made = [paint(studio, f"{number}\n雪") for number in range(3)]
    lines = [line.encode() for line in export_lines(studio._history)]
    assert len(lines) == 3 and all(line.count(b"\n") == 1 for line in lines)
    assert import_lines(lines, storage, fresh).added == 3
    assert [one.id for one in fresh.page(Query(oldest=True)).generations] == [
        one.id for one in made
    ]
    again = import_lines(lines, storage, fresh)
    assert (again.added, again.known) == (0, 3)


def test_what_does_not_fit_is_left_out_and_named(
    studio: Studio,
    storage: LocalStorage,
    fresh: TinyHistory,
) -> None:
    deleted = paint(studio)
    lines = [line.encode() for line in export_lines(studio._history)]
    studio.delete(deleted.id)
    queued = generation("waits")
    cancelled = generation("stopped").advance(Status.cancelled)
    lines += [one.model_dump_json().encode() for one in (queued, cancelled)]
    told = import_lines([*lines, b"\n", b"{", b"\xff\n"], storage, fresh)
    assert (told.added, told.unreadable, told.unfinished, told.without_pictures) == (1, 2, 1, 1)
    assert len(told.sentences()) == 3
    assert fresh.get(cancelled.id) == cancelled
