from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from fluxui.errors import GenerationNotFound, StorageRefused
from fluxui.history import Query
from fluxui.history.tiny import TinyHistory
from fluxui.outputs import Flaw, list_outputs
from fluxui.storage import StoredObject, record_key, thumb_key
from fluxui.storage.local import LocalStorage
from fluxui.studio import Studio
from fluxui.verify import completed, repair, verify
from tests.conftest import paint
from tests.test_rebuild import content, edit


@pytest.fixture
def known(studio: Studio) -> TinyHistory:
    """The studio's own history."""
    assert isinstance(studio._history, TinyHistory)
    return studio._history


def test_they_agree(studio: Studio, storage: LocalStorage, known: TinyHistory) -> None:
    paint(studio)
    paint(studio, "deleted")
    studio.delete(paint(studio).id)
    found = verify(storage, known)
    assert found.fine and (found.records, found.outputs) == (2, 2)


def test_records_without_bytes_go_into_a_file(
    studio: Studio,
    storage: LocalStorage,
    known: TinyHistory,
    tmp_path: Path,
) -> None:
    fine, gone, partly = (paint(studio, name, num_images=2) for name in ("a", "b", "c"))
    for image in gone.images:
        storage.delete(image.key)
    storage.delete(partly.images[1].key)
    found = verify(storage, known)
    assert ([one.id for one in found.gone], [one.id for one in found.partly]) == (
        [gone.id],
        [partly.id],
    )
    aside = repair(found, storage, known, tmp_path)
    assert aside is not None
    kept = [json.loads(line)["id"] for line in aside.read_text().splitlines()]
    assert kept == [gone.id, partly.id]
    with pytest.raises(GenerationNotFound):
        known.get(gone.id)
    assert [image.index for image in known.get(partly.id).images] == [1]
    assert json.loads(content(storage, record_key(partly))) == known.get(partly.id).record()
    assert known.get(fine.id) == fine
    assert verify(storage, known).flaws == {Flaw.gone: [gone.id]}  # its record.json stays


def test_bytes_without_records_come_back(
    studio: Studio,
    storage: LocalStorage,
    known: TinyHistory,
    tmp_path: Path,
) -> None:
    whole, bare = paint(studio, "whole"), paint(studio, "bare")
    for one in (whole, bare):
        known.remove(one.id)
        known._removed.clear()
    storage.delete(record_key(bare))
    found = verify(storage, known)
    assert {one.id for one in found.lacking} == {whole.id, bare.id}
    assert found.flaws == {Flaw.restored: [bare.id]}
    assert repair(found, storage, known, tmp_path) is None
    assert known.get(whole.id) == whole and known.get(bare.id).request == bare.request
    assert verify(storage, known).fine


def test_the_record_beside_the_pictures_and_the_thumbnail_are_made_again(
    studio: Studio,
    storage: LocalStorage,
    known: TinyHistory,
    tmp_path: Path,
) -> None:
    edited, absent, plain = (paint(studio, name) for name in ("a", "b", "c"))
    edit(storage, record_key(edited), painted="another")
    storage.delete(record_key(absent))
    storage.delete(thumb_key(plain, 1))
    swapped = paint(studio, "a red house")
    content_before = content(storage, record_key(swapped))
    same_length = content_before.replace(b"a red house", b"a bad house")
    storage.put(record_key(swapped), same_length, "application/json")
    found = verify(storage, known)
    assert {one.id for one in found.other_record} == {edited.id, absent.id, swapped.id}
    assert len(found.sentences()) == 2
    repair(found, storage, known, tmp_path)
    before = record_key(edited).replace("record.json", "record.before.json")
    assert json.loads(content(storage, before))["painted"] == "another"
    assert content(storage, record_key(swapped)) == content_before
    assert content(storage, thumb_key(plain, 1)).startswith(b"RIFF")
    assert verify(storage, known).fine


def test_a_bucket_that_says_the_md5_is_read_only_where_it_differs(
    studio: Studio, storage: LocalStorage, known: TinyHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine, swapped = paint(studio, "a red house"), paint(studio, "a red house")
    edited = content(storage, record_key(swapped)).replace(b"a red house", b"a bad house")
    storage.put(record_key(swapped), edited, "application/json")
    opened, keep, whole = [], LocalStorage.open, LocalStorage.list

    def watched(self: LocalStorage, key: str) -> BinaryIO:
        opened.append(key)
        return keep(self, key)

    def listed(self: LocalStorage, prefix: str) -> Iterator[StoredObject]:
        for found in whole(self, prefix):
            yield replace(found, md5=hashlib.md5(content(storage, found.key)).hexdigest())

    monkeypatch.setattr(LocalStorage, "list", listed)
    outputs = list_outputs(storage)
    monkeypatch.setattr("fluxui.verify.list_outputs", lambda storage: outputs)
    monkeypatch.setattr(LocalStorage, "open", watched)
    assert [one.id for one in verify(storage, known).other_record] == [swapped.id]
    assert opened == [record_key(swapped)] and known.get(fine.id) == fine


def test_a_record_of_an_older_version_says_the_same(
    studio: Studio,
    storage: LocalStorage,
    known: TinyHistory,
) -> None:
    made = paint(studio)
    record = made.record()
    del record["tags"]
    storage.put(record_key(made), json.dumps(record).encode(), "application/json")
    assert verify(storage, known).fine


def test_another_bucket_is_not_taken_for_damage(
    studio: Studio, known: TinyHistory, tmp_path: Path
) -> None:
    paint(studio)
    empty = LocalStorage(tmp_path / "other")
    found = verify(empty, known)
    with pytest.raises(StorageRefused):
        repair(found, empty, known, tmp_path)
    assert known.page(Query()).total == 1


def test_all_pages_are_compared(studio: Studio, known: TinyHistory) -> None:
    made = [paint(studio, f"{number}").id for number in range(5)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fluxui.verify.PAGE", 2)
        assert [one.id for one in completed(known)] == made[::-1]
