from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from fluxui.errors import StorageUnavailable
from fluxui.generation import Generation
from fluxui.history import Query
from fluxui.history.tiny import TinyHistory
from fluxui.opening import open_studio
from fluxui.outputs import Flaw
from fluxui.rebuild import Rebuild
from fluxui.settings import Settings
from fluxui.storage import record_key, trash_key
from fluxui.storage.local import LocalStorage
from fluxui.studio import Studio
from tests.conftest import FakePipeline, make_studio, paint


def ids(history: TinyHistory) -> list[str]:
    return [one.id for one in history.page(Query(), limit=1000).generations]


def content(storage: LocalStorage, key: str) -> bytes:
    with storage.open(key) as stream:
        return stream.read()


def edit(storage: LocalStorage, key: str, **changes: Any) -> None:
    record = json.loads(content(storage, key))
    storage.put(key, json.dumps(record | changes).encode(), "application/json")


def test_an_empty_history_has_everything_again_in_its_order(
    studio: Studio, storage: LocalStorage, fresh: TinyHistory
) -> None:
    made = [paint(studio, f"{number}", num_images=2) for number in range(5)]
    assert fresh.incomplete
    told = Rebuild(storage, fresh).run()
    assert (told.lacking, told.read, told.added, told.running) == (5, 5, 5, False)
    assert told.sentences() == [] and not fresh.incomplete
    assert [fresh.get(one.id) for one in made] == made
    assert ids(fresh) == [one.id for one in reversed(made)]
    assert Rebuild(storage, fresh).run().added == 0


def test_what_is_lacking_goes_where_it_was_and_nothing_is_doubled(
    studio: Studio, storage: LocalStorage, fresh: TinyHistory
) -> None:
    made = [paint(studio, f"{number}") for number in range(6)]
    for number in (1, 3, 4):
        fresh.add(made[number])
    assert Rebuild(storage, fresh).run().added == 3
    assert ids(fresh) == [one.id for one in reversed(made)]


def test_the_trash_keeps_what_it_has(
    studio: Studio, storage: LocalStorage, fresh: TinyHistory
) -> None:
    kept, deleted, removed = (paint(studio, name) for name in ("kept", "deleted", "removed"))
    studio.delete(deleted.id)
    # One more, whose deletion died before the originals went.
    record = content(storage, record_key(removed))
    storage.put(trash_key(record_key(removed)), record, "application/json")
    Rebuild(storage, fresh).run()
    assert ids(fresh) == [kept.id]


def test_what_is_deleted_while_it_runs_stays_deleted(
    studio: Studio, storage: LocalStorage, fresh: TinyHistory
) -> None:
    made = paint(studio)
    fresh.add(made)
    fresh.remove(made.id)
    assert fresh.merge([made]) == 0
    fresh.add(made)
    assert ids(fresh) == [made.id]


def test_half_of_the_objects_are_gone(
    studio: Studio, storage: LocalStorage, fresh: TinyHistory
) -> None:
    made = [paint(studio, f"{number}", num_images=2) for number in range(4)]
    for image in made[0].images:
        storage.delete(image.key)
    storage.delete(made[1].images[0].key)
    storage.delete(record_key(made[2]))
    told = Rebuild(storage, fresh).run()
    assert told.added == 3
    assert told.flaws == {
        Flaw.gone: [made[0].id],
        Flaw.partly: [made[1].id],
        Flaw.restored: [made[2].id],
    }
    assert f"1 generation without any of their pictures (first {made[0].id})" in " ".join(
        told.sentences()
    )
    assert [image.index for image in fresh.get(made[1].id).images] == [2]
    restored = fresh.get(made[2].id)
    assert restored.request == made[2].request
    assert [image.sha256 for image in restored.images] == [one.sha256 for one in made[2].images]
    assert (restored.visitor, restored.painted) == ("", made[2].painted)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "painted"},
        {"status": "queued"},
        {"id": "00000000-0000-0000-0000-000000000000"},
        {"created_at": "2020-01-01T00:00:00Z"},
        {"request": None},
    ],
)
def test_an_edited_record_is_left_out_and_left_alone(
    studio: Studio, storage: LocalStorage, fresh: TinyHistory, changes: dict[str, Any]
) -> None:
    good, edited = paint(studio), paint(studio)
    edit(storage, record_key(edited), **changes)
    before = content(storage, record_key(edited))
    told = Rebuild(storage, fresh).run()
    assert ids(fresh) == [good.id] and told.flaws == {Flaw.unreadable: [edited.id]}
    assert content(storage, record_key(edited)) == before


def test_an_edited_record_can_not_reach_another_folder(
    studio: Studio, storage: LocalStorage, fresh: TinyHistory
) -> None:
    secret, edited = paint(studio), paint(studio)
    stolen = [image.model_dump(mode="json") for image in secret.images]
    edit(storage, record_key(edited), images=stolen)
    Rebuild(storage, fresh).run()
    assert ids(fresh) == [secret.id]


def test_pictures_that_say_nothing_are_named(storage: LocalStorage, fresh: TinyHistory) -> None:
    storage.put("generated/2026/11/22/abc/image_1.png", b"no picture", "image/png")
    storage.put("generated/readme.txt", b"not ours", "text/plain")
    told = Rebuild(storage, fresh).run()
    assert told.flaws == {Flaw.silent: ["abc"]} and ids(fresh) == []


def test_it_goes_on_after_a_restart(
    studio: Studio, storage: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [paint(studio, f"{number}") for number in range(4)]
    monkeypatch.setattr("fluxui.rebuild.FIRST_BATCH", 1)
    history = TinyHistory(tmp_path / "again.json")
    rebuild = Rebuild(storage, history)
    merge = history.merge

    def merge_and_end(new: list[Generation]) -> int:
        rebuild._closing.set()
        return merge(new)

    monkeypatch.setattr(history, "merge", merge_and_end)
    rebuild.run()
    assert len(ids(history)) == 1 and history.incomplete
    history.close()
    again = TinyHistory(tmp_path / "again.json")
    assert again.incomplete
    Rebuild(storage, again).run()
    assert ids(again) == [one.id for one in reversed(made)] and not again.incomplete
    again.close()


def test_a_storage_that_is_away_is_waited_for(
    studio: Studio, storage: LocalStorage, fresh: TinyHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = paint(studio)
    monkeypatch.setattr("fluxui.rebuild.RETRY_SECONDS", 0.05)
    answers = threading.Event()
    listing = storage.list

    def away(prefix: str) -> Any:
        if not answers.is_set():
            raise StorageUnavailable("The bucket's server does not answer.")
        return listing(prefix)

    monkeypatch.setattr(storage, "list", away)
    rebuild = Rebuild(storage, fresh)
    with pytest.raises(StorageUnavailable):
        rebuild.run()
    rebuild.start()
    until = threading.Event()
    while not rebuild.progress.waits:
        until.wait(0.01)
    assert rebuild.progress.running
    answers.set()
    assert rebuild._thread is not None
    rebuild._thread.join(10)
    assert ids(fresh) == [made.id] and not rebuild.progress.waits


@pytest.mark.parametrize("damage", ["removed", "garbage"])
def test_at_start(
    settings: Settings, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    studio = make_studio(settings, pipeline)
    made = [paint(studio, f"{number}") for number in range(3)]
    studio.close()
    file = settings.data_dir / "history.json"
    file.unlink() if damage == "removed" else file.write_text("garbage")
    monkeypatch.setattr("fluxui.opening.get_pipeline", lambda settings: pipeline)
    again = open_studio(settings)
    until = threading.Event()
    while again.upkeep.rebuilding.added < 3:
        until.wait(0.01)
    assert [one.id for one in again.pictures.page().generations] == [
        one.id for one in reversed(made)
    ]
    aside = list(settings.data_dir.glob("history.damaged-*"))
    assert [path.read_text() for path in aside] == (["garbage"] if damage == "garbage" else [])
    again.close()
