from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tinydb import TinyDB

from fluxui.errors import GenerationNotFound, HistoryDamaged
from fluxui.generation import Generation, Image, LoraUse, Status
from fluxui.history import Query
from fluxui.history.tiny import TABLE, TinyHistory
from fluxui.request import GenerationRequest, LoraRef


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.json"


@pytest.fixture
def history(path: Path) -> Iterator[TinyHistory]:
    opened = TinyHistory(path)
    yield opened
    opened.close()


def generation(
    prompt: str = "a red house", lora: str = "", images: int = 0, **changes: Any
) -> Generation:
    """A queued one, or a completed one with that many images."""
    request = GenerationRequest(
        prompt=prompt,
        loras=(LoraRef(model_id=lora),) if lora else (),
        num_images=max(images, 1),
        num_inference_steps=4,
        guidance_scale=3.5,
        width=64,
        height=64,
        seed=2**64 - 1,
    )
    uses = (LoraUse(model_id=lora, name=f"{lora.title()} Style", weight=0.8, sha256="ab"),)
    made = Generation(
        request=request,
        base_model="tiny",
        painted=changes.pop("painted", prompt),
        loras=uses if lora else (),
        **changes,
    )
    if not images:
        return made
    outputs = tuple(
        Image(index=k, key="k", thumb_key="t", seed=k, width=64, height=64, bytes=1, sha256="ab")
        for k in range(1, images + 1)
    )
    return made.advance(Status.running).advance(Status.completed, images=outputs)


def prompts(history: TinyHistory, **query: Any) -> list[str]:
    return [found.request.prompt for found in history.page(Query(**query)).generations]


def test_what_was_added_is_there_after_a_restart(path: Path, history: TinyHistory) -> None:
    first = generation("é 雪 \n\t\"' <b>", lora="snow", images=2)
    history.add(first)
    history.add(generation("second"))
    history.close()
    again = TinyHistory(path)
    assert again.get(first.id) == first
    assert prompts(again) == ["second", first.request.prompt]
    assert again.page(Query()).images == 2
    again.close()


def test_replace_and_remove(history: TinyHistory) -> None:
    made = generation()
    history.add(made)
    history.replace(made.advance(Status.running))
    assert history.get(made.id).status is Status.running
    history.remove(made.id)
    for call in (history.get, history.remove):
        with pytest.raises(GenerationNotFound):
            call(made.id)
    with pytest.raises(GenerationNotFound):
        history.replace(made)
    assert history.page(Query()).total == 0


def test_a_replaced_record_keeps_no_field_of_the_old_one(path: Path, history: TinyHistory) -> None:
    made = generation()
    history.add(made)
    history.replace(made.advance(Status.running))
    history.close()
    with TinyDB(path) as stock:
        assert stock.table(TABLE).get(doc_id=1)["status"] == "running"
        stock.table(TABLE).update({"from_the_future": 1}, doc_ids=[1])
    again = TinyHistory(path)
    again.replace(made)
    again.close()
    assert json.loads(path.read_bytes())[TABLE]["1"] == made.record()


def test_adding_twice_is_one_record(history: TinyHistory) -> None:
    made = generation()
    history.add(made)
    history.add(made.advance(Status.cancelled))
    assert history.page(Query()).total == 1
    assert history.get(made.id).status is Status.cancelled


def test_an_undone_removal_stands_where_it_stood(history: TinyHistory) -> None:
    made = [generation(f"{number}") for number in range(3)]
    for one in made:
        history.add(one)
    history.remove(made[1].id)
    assert prompts(history) == ["2", "0"]
    history.add(made[1])
    assert prompts(history) == ["2", "1", "0"]
    history.add(generation("3"))
    assert prompts(history) == ["3", "2", "1", "0"]


def test_pages_follow_each_other_while_others_come_and_go(history: TinyHistory) -> None:
    made = [generation(f"{number}") for number in range(10)]
    for one in made:
        history.add(one)
    first = history.page(Query(), limit=4)
    assert [one.request.prompt for one in first.generations] == ["9", "8", "7", "6"]
    history.add(generation("new"))
    history.remove(made[6].id)  # the one that the cursor names
    second = history.page(Query(), first.cursor, limit=4)
    assert [one.request.prompt for one in second.generations] == ["5", "4", "3", "2"]
    third = history.page(Query(), second.cursor, limit=4)
    assert ([one.request.prompt for one in third.generations], third.cursor) == (["1", "0"], "")
    beside = history.page(Query(), second.cursors[1], limit=2)
    assert [one.request.prompt for one in beside.generations] == ["3", "2"]


def test_an_exact_last_page_has_no_cursor(history: TinyHistory) -> None:
    for number in range(4):
        history.add(generation(f"{number}"))
    page = history.page(Query(), limit=4)
    assert (len(page.generations), page.cursor, page.total) == (4, "", 4)
    assert history.page(Query(), page.cursors[-1]).generations == []
    nothing = history.page(Query(), limit=0)
    assert (nothing.generations, nothing.cursor, nothing.total) == ([], "", 4)


@pytest.mark.parametrize("cursor", ["x", "-1", "1e9", "²", "999999999999999999999"])
def test_a_foreign_cursor_is_the_first_page(history: TinyHistory, cursor: str) -> None:
    history.add(generation())
    assert len(history.page(Query(), cursor).generations) == 1


def test_search_finds_all_words_in_prompt_painted_and_lora_names(history: TinyHistory) -> None:
    history.add(generation("A red house", painted="ohwx, A red house"))
    history.add(generation("a blue boat", lora="sketch", images=3))
    history.add(generation("ÉTÉ (a+)+$ 100%"))
    assert prompts(history, words="RED hou") == ["A red house"]
    assert prompts(history, words="ohwx red") == ["A red house"]
    assert prompts(history, words="sketch style boat") == ["a blue boat"]
    assert prompts(history, words="e\u0301t\u00e9") == ["ÉTÉ (a+)+$ 100%"]
    assert prompts(history, words="(a+)+$") == ["ÉTÉ (a+)+$ 100%"]
    assert prompts(history, words=".*") == []
    assert prompts(history, words="red blue") == []
    assert len(prompts(history, words="   ")) == 3


def test_filters_and_their_totals(history: TinyHistory) -> None:
    history.add(generation("one", lora="a", images=2))
    history.add(generation("two", lora="b", images=4))
    waiting = generation("three", lora="a")
    history.add(waiting)
    found = history.page(Query(model_id="a"))
    assert (found.total, found.images) == (2, 2)
    done = history.page(Query(status=Status.completed))
    assert (done.total, done.images) == (2, 6)
    assert prompts(history, words="t", model_id="a", status=Status.queued) == ["three"]
    history.replace(waiting.advance(Status.cancelled))
    assert history.page(Query(status=Status.queued)).total == 0
    history.remove(done.generations[0].id)
    assert (history.page(Query()).total, history.page(Query()).images) == (2, 2)
    assert history.page(Query(status=Status.completed)).total == 1
    history.add(generation("four", images=1))
    assert history.page(Query(status=Status.completed)).total == 2


def test_threads_add_and_read_at_once(history: TinyHistory) -> None:
    def work(number: int) -> None:
        made = generation(f"{number}", lora="a")
        history.add(made)
        history.replace(made.advance(Status.running))
        assert made.id in [found.id for found in history.page(Query(), limit=100).generations]
        assert history.page(Query(model_id="a")).total >= 1
        if number % 2:
            history.remove(made.id)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(80)))
    assert history.page(Query()).total == len(history.unfinished()) == 40


def test_unfinished_ones_in_order_of_admission(history: TinyHistory) -> None:
    made = [generation(f"{number}") for number in range(4)]
    for one in made:
        history.add(one)
    history.replace(made[2].advance(Status.running))
    history.replace(made[1].advance(Status.cancelled))
    assert [one.request.prompt for one in history.unfinished()] == ["0", "2", "3"]


def test_find_by_idempotency_key(path: Path, history: TinyHistory) -> None:
    made = generation(idempotency_key="once")
    history.add(generation())
    history.add(made)
    history.replace(made.advance(Status.running))
    assert history.find("once") == history.get(made.id)
    assert history.find("never") is None
    history.close()
    again = TinyHistory(path)
    assert again.find("once") is not None
    again.remove(made.id)
    assert again.find("once") is None
    again.close()


def test_records_that_somebody_edited_hide_no_others(
    path: Path, history: TinyHistory, caplog: pytest.LogCaptureFixture
) -> None:
    made = [generation(f"{number}") for number in range(4)]
    for one in made:
        history.add(one)
    history.close()
    with TinyDB(path) as stock:
        stock.table(TABLE).update({"status": "painted"}, doc_ids=[2])
        stock.table(TABLE).update({"request": "mine"}, doc_ids=[3])
    again = TinyHistory(path)
    assert prompts(again) == ["3", "0"]
    with pytest.raises(HistoryDamaged):
        again.get(made[1].id)
    with pytest.raises(GenerationNotFound):
        again.get(made[2].id)
    assert "Record 3 of the history can't be read." in caplog.messages
    again.close()


def test_a_damaged_file_is_set_aside_and_said(path: Path) -> None:
    path.write_text("garbage")
    history = TinyHistory(path)
    assert history.set_aside is not None and history.set_aside.read_text() == "garbage"
    history.add(generation())
    history.close()
    again = TinyHistory(path)
    assert again.set_aside is None and again.page(Query()).total == 1
    again.close()
