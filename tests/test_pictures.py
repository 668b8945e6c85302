from __future__ import annotations

import io
import json
import threading
import zipfile
from datetime import timedelta
from pathlib import Path

import pytest

from fluxui.errors import (
    GenerationNotFound,
    IllegalTransition,
    ImageNotFound,
    InvalidRequest,
    LoraMisfit,
)
from fluxui.history import Query
from fluxui.history.tiny import TinyHistory
from fluxui.pictures import Difference
from fluxui.rebuild import Rebuild
from fluxui.settings import Settings
from fluxui.storage import record_key
from fluxui.storage.local import LocalStorage
from fluxui.studio import Studio
from fluxui.visitor import Visitor
from tests.conftest import paint, wait
from tests.lora_files import fitting_lora, write
from tests.test_rebuild import content

GUEST = Visitor("guest")


def test_a_star_is_kept_in_history_and_storage(
    studio: Studio, storage: LocalStorage, fresh: TinyHistory
) -> None:
    made, other = paint(studio, num_images=3), paint(studio, num_images=2)
    starred = studio.pictures.favourite(made.id, 2)
    assert [image.favourite for image in starred.images] == [False, True, False]
    assert studio.get(made.id) == starred
    assert json.loads(content(storage, record_key(made))) == starred.record()
    page = studio.pictures.gallery(Query(favourite=True))
    assert [(card.generation.id, card.image.index) for card in page.cards] == [(made.id, 2)]
    assert page.total == 1
    Rebuild(storage, fresh).run()
    assert fresh.page(Query(favourite=True)).images == 1
    assert studio.pictures.favourite(made.id, 2, on=False) == made
    assert studio.pictures.gallery(Query(favourite=True)).total == 0
    assert studio.pictures.set_favourites(other.id, [1, 2]).images[1].favourite
    assert studio.pictures.gallery(Query(favourite=True)).total == 2


def test_tags_are_tidied_found_and_kept(studio: Studio, storage: LocalStorage) -> None:
    made = paint(studio)
    tagged = studio.pictures.tag(made.id, ["  Deep   Sea ", "", "deep sea", "Été"])
    assert tagged.tags == ("Deep Sea", "Été")
    assert json.loads(content(storage, record_key(made)))["tags"] == ["Deep Sea", "Été"]
    for tag, count in (("deep SEA", 1), ("été", 1), ("deep", 0)):
        assert studio.pictures.page(Query(tag=tag)).total == count
    assert studio.pictures.tag(made.id, []).tags == ()
    for tags in ([str(number) for number in range(21)], ["x" * 41]):
        with pytest.raises(InvalidRequest):
            studio.pictures.tag(made.id, tags)


def test_what_has_no_pictures_has_no_star_and_no_tag(studio: Studio) -> None:
    made = paint(studio)
    with pytest.raises(ImageNotFound):
        studio.pictures.favourite(made.id, 2)
    with pytest.raises(GenerationNotFound):
        studio.pictures.tag("nothing", ["x"])


def test_another_ones_pictures_can_not_be_marked_or_zipped(studio: Studio) -> None:
    made = paint(studio)
    guest = studio.serving(lambda: GUEST)
    for change in (
        lambda: guest.pictures.favourite(made.id, 1),
        lambda: guest.pictures.tag(made.id, ["mine"]),
    ):
        with pytest.raises(GenerationNotFound):
            change()
    for stream in (guest.pictures.zip([(made.id, 1)]), guest.pictures.zip_all(Query())):
        assert zipfile.ZipFile(io.BytesIO(b"".join(stream))).namelist() == ["history.jsonl"]


def test_stars_at_once_are_all_kept(studio: Studio) -> None:
    made = paint(studio, num_images=4)
    threads = [
        threading.Thread(target=studio.pictures.favourite, args=(made.id, index))
        for index in range(1, 5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(image.favourite for image in studio.get(made.id).images)


def test_filters_of_a_page(studio: Studio) -> None:
    small = paint(studio, "small", width=128, height=128, seed=7, num_images=2)
    large = paint(studio, "large", width=256, height=128, seed=2**64 - 1, num_images=2)

    def found(**query: object) -> list[str]:
        page = studio.pictures.page(Query(**query))  # type: ignore[arg-type]
        return [one.request.prompt for one in page.generations]

    assert found(width=128) == ["small"] and found(height=128) == ["large", "small"]
    assert found(seed=8) == ["small"] and found(seed=0) == ["large"] and found(seed=9) == []
    assert found(base_model="tiny", oldest=True) == ["small", "large"]
    assert found(base_model="flux1-dev") == []
    assert found(since=large.created_at) == ["large"]
    assert found(until=large.created_at) == ["small"]
    assert found(since=small.created_at + timedelta(days=1)) == []


def test_oldest_first_pages_on(studio: Studio) -> None:
    made = [paint(studio, f"{number}").id for number in range(5)]
    met: list[str] = []
    cursor = ""
    for _ in range(3):
        page = studio.pictures.page(Query(oldest=True), cursor, 2)
        met += [one.id for one in page.generations]
        cursor = page.cursor
    assert met == made and cursor == ""


def test_a_zip_has_the_pictures_and_their_records(studio: Studio, storage: LocalStorage) -> None:
    first, second = paint(studio, "a", num_images=2), paint(studio, "b")
    chosen = [(first.id, 2), (second.id, 1), ("gone", 1), (second.id, 9)]
    archive = zipfile.ZipFile(io.BytesIO(b"".join(studio.pictures.zip(chosen))))
    *names, records = archive.namelist()
    assert archive.testzip() is None and len(names) == 2
    assert archive.read(names[0]) == content(storage, first.images[1].key)
    assert f"seed-{first.images[1].seed}_{first.id[:8]}_2.png" in names[0]
    kept = [json.loads(line)["id"] for line in archive.read(records).splitlines()]
    assert kept == [first.id, second.id]
    everything = zipfile.ZipFile(io.BytesIO(b"".join(studio.pictures.zip_all(Query()))))
    assert len(everything.namelist()) == 4
    found = zipfile.ZipFile(io.BytesIO(b"".join(studio.pictures.zip_all(Query(words="b")))))
    assert len(found.namelist()) == 2


def test_painted_again_it_is_the_same_or_says_how_it_differs(studio: Studio) -> None:
    made = paint(studio, "a boat", seed=7, num_images=2, width=128, height=128)
    again = wait(studio, studio.repeat(made.id, 2).id)
    assert again.request.seed == 8 and again.request.num_images == 1
    assert studio.pictures.difference((made.id, 2), (again.id, 1)) == Difference(0, 0, 128 * 128)
    differs = studio.pictures.difference((made.id, 1), (again.id, 1))
    assert differs.pixels == differs.of == 128 * 128 and 0 < differs.largest < 256
    other = paint(studio, "a boat", width=256, height=128)
    with pytest.raises(InvalidRequest):
        studio.pictures.difference((made.id, 1), (other.id, 1))


def test_what_can_not_be_painted_again_says_why(
    studio: Studio, settings: Settings, tmp_path: Path
) -> None:
    file = write(tmp_path, fitting_lora(settings))
    studio.collection.add(file, "oil", trigger_words=("oil",))
    made = paint(studio, model_id="oil")
    studio.collection.update("oil", trigger_words=("oil paint",))
    with pytest.raises(IllegalTransition, match="trigger words"):
        studio.repeat(made.id, 1)
    history = studio._history
    history.replace(made.model_copy(update={"base_model": "flux1-dev"}))
    with pytest.raises(IllegalTransition, match="painted by flux1-dev"):
        studio.repeat(made.id, 1)
    uses = (made.loras[0].model_copy(update={"sha256": "ab" * 32}),)
    history.replace(made.model_copy(update={"loras": uses}))
    with pytest.raises(LoraMisfit, match="another file now"):
        studio.repeat(made.id, 1)
