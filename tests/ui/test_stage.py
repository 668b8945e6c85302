from __future__ import annotations

import re
from itertools import pairwise

import pytest

from fluxui.generation import Failure, Generation, Status
from fluxui.queue import Phase, Progress
from fluxui.ui import html, stage, wall
from fluxui.ui.stage import Example
from tests.ui.conftest import NASTY, make_card, make_generation

FETCHING = Progress(Phase.fetching, obstacle="Ink: 1.0 of 350.0 MB are here.")
PAINTING = Progress(Phase.painting, image=1, images=4, step=13, steps=20, preview=b"jpeg")


def queued(**values: object) -> Generation:
    return make_generation(status=Status.queued, images=0, **values)


def text(markup: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", markup).split())


@pytest.mark.parametrize(
    ("progress", "left", "name", "words"),
    [
        (Progress(Phase.waiting, ahead=2), 21.0, "queued", "2 ahead of you done in about 21 s"),
        (Progress(Phase.waiting), None, "queued", "Queued next in line"),
        (Progress(Phase.loading), None, "loading", "Requests made now keep their place."),
        (FETCHING, None, "loading", "Fetching the LoRA Ink: 1.0 of 350.0 MB are here."),
        (PAINTING, 11.0, "running", "Painting image 1 of 4 step 13 of 20 about 11 s left"),
        (Progress(Phase.saving, images=4), 1.0, "running", "Saving 4 images"),
        (None, None, "queued", "Queued"),
    ],
)
def test_the_strip_says_state_step_and_time(
    progress: Progress | None, left: float | None, name: str, words: str
) -> None:
    markup = stage.status(queued(), progress, left)
    assert f'data-status="{name}"' in markup
    assert words in text(markup)
    assert 'role="progressbar"' in markup


def test_what_waits_can_be_held_back_and_put_first() -> None:
    first = stage.status(queued(), Progress(ahead=1), 21.0, ["job-1", "job-2"])
    assert 'data-act="pause"' in first and 'data-act="up"' not in first
    later = stage.status(queued(), Progress(ahead=2), 21.0, ["job-2", "job-1"])
    assert 'data-act="up" data-id="job-1"' in later
    held = stage.status(queued(), Progress(ahead=2, paused=True), None, ["job-2", "job-1", "job-3"])
    assert "Paused 3 wait" in text(held) and 'data-act="resume"' in held
    another = stage.status(queued(), Progress(ahead=2), 21.0, [])  # the owner looks at a guest's
    assert "data-act" not in another
    assert "data-act" not in stage.status(queued(), PAINTING, 4.0, [])


def test_the_strip_of_what_has_ended() -> None:
    assert stage.status(None) == ""
    assert "4 images in 8.0 s · seed 7" in text(stage.status(make_generation(images=4)))
    assert 'data-status="failed"' in stage.status(
        queued().model_copy(update={"status": Status.failed})
    )


def test_a_screen_reader_hears_fifths_not_every_step() -> None:
    spoken = [
        stage.status(queued(), Progress(Phase.painting, image=1, images=1, step=step, steps=100))
        for step in range(1, 101)
    ]
    heard = [re.findall(r'role="status">([^<]+)<', one)[0] for one in spoken]
    assert sum(before != after for before, after in pairwise(heard)) == 5


@pytest.mark.parametrize("phase", [Phase.waiting, Phase.saving])
def test_what_keeps_it_waiting_is_told(phase: Phase) -> None:
    held_up = Progress(phase, images=1, obstacle="The disk <b>is full.")
    assert "The disk &lt;b&gt;is full." in stage.status(queued(), held_up)


def test_preview_and_result_have_the_same_frame() -> None:
    running = stage.running(queued(), PAINTING)
    done = make_generation()
    result = stage.result([make_card(done)], make_card(done), "")
    shape = re.compile(r'<div class="fx-frame" style="--w:128;--h:96"><img src=')
    assert shape.search(running)
    assert shape.search(result)
    assert "data:image/jpeg;base64,anBlZw==" in running


def test_one_picture_has_no_film_and_four_have_one() -> None:
    one = make_generation()
    assert "fx-film" not in stage.result([make_card(one)], make_card(one), "")
    four = make_generation(images=4)
    cards = [make_card(four, index) for index in range(1, 5)]
    markup = stage.result(cards, cards[2], "Compare without LoRA")
    assert markup.count("fx-shot") == 4
    assert re.findall(r'data-index="(\d)"[^>]+aria-current', markup) == ["3"]
    assert "Delete all 4" in markup
    assert "dot-art 0.6 · 5/5 layers" in markup
    assert 'data-act="compare"' in markup


def test_compare_is_offered_only_where_there_is_something_to_compare() -> None:
    card = make_card(make_generation())
    assert 'data-act="compare"' not in stage.result([card], card, "")


def test_shortcuts_that_change_pictures_are_told_beside_the_picture() -> None:
    fast = make_card(make_generation(shortcuts=("fp8 weights", "step cache")))
    for markup in (stage.result([fast], fast, ""), html.facts(wall.all_facts(fast))):
        assert "fp8 weights, step cache; these change the picture" in markup
    assert "Shortcuts" not in html.facts(wall.all_facts(make_card(make_generation())))


def test_nothing_that_people_typed_is_markup() -> None:
    nasty = make_generation(NASTY)
    card = make_card(nasty)
    for markup in (
        stage.result([card], card, NASTY),
        stage.running(nasty, PAINTING),
        stage.compare(card, card),
        stage.lately([card], 1),
        stage.first_run(NASTY, [Example(NASTY, "x.webp", 3, NASTY, 320, 208)]),
        stage.ended_badly(queued(error=Failure(code="c", message=NASTY, hint=NASTY))),
    ):
        assert "<img src=x" not in markup


def test_each_end_without_a_picture_has_its_words_and_a_way_out() -> None:
    dequeued = queued().model_copy(update={"status": Status.cancelled})
    assert "Taken out of the queue." in text(stage.ended_badly(dequeued))
    stopped = dequeued.model_copy(update={"stopped_at": 7})
    assert "Stopped at step 7 of 12. No picture was made." in text(stage.ended_badly(stopped))
    failure = Failure(code="out_of_memory", message="Out of memory.", hint="Try one image.")
    failed = queued(error=failure).model_copy(update={"status": Status.failed})
    assert "Out of memory. Try one image. Try again" in text(stage.ended_badly(failed))


def test_lately_counts_all_and_an_empty_one_says_so() -> None:
    assert "All 1,284 pictures" in text(stage.lately([make_card(make_generation())], 1284))
    assert "No pictures yet." in text(stage.lately([], 0))
