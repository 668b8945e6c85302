from __future__ import annotations

import itertools

import pytest

from fluxui.errors import IllegalTransition
from fluxui.generation import TRANSITIONS, Generation, Status, add_trigger_words
from fluxui.request import GenerationRequest


def generation() -> Generation:
    request = GenerationRequest(
        prompt="a house",
        num_images=1,
        num_inference_steps=2,
        guidance_scale=3.5,
        width=64,
        height=64,
        seed=2**64 - 1,
    )
    return Generation(request=request, base_model="tiny", painted="a house")


@pytest.mark.parametrize(("start", "end"), list(itertools.product(Status, Status)))
def test_only_what_the_table_names_is_legal(start: Status, end: Status) -> None:
    one = generation().model_copy(update={"status": start})
    if end in TRANSITIONS[start]:
        assert one.advance(end).status is end
    else:
        with pytest.raises(IllegalTransition):
            one.advance(end)


def test_a_life_leaves_its_times_and_attempts() -> None:
    running = generation().advance(Status.running)
    assert running.started_at is not None and running.attempts == 1
    again = running.advance(Status.queued).advance(Status.running)
    assert again.attempts == 2
    done = again.advance(Status.completed, seconds=1.5)
    assert done.completed_at is not None and done.completed_at >= done.created_at
    assert done.seconds == 1.5 and done.status.ended


def test_a_record_gives_an_equal_generation() -> None:
    one = generation().advance(Status.running).advance(Status.cancelled, stopped_at=1)
    assert Generation.model_validate(one.record()) == one


def test_ids_are_unguessable_and_distinct() -> None:
    ids = {generation().id for _ in range(100)}
    assert len(ids) == 100
    assert all(len(one) == 36 and one[14] == "4" for one in ids)


@pytest.mark.parametrize(
    ("prompt", "words", "painted"),
    [
        ("a house", ("pixel art",), "pixel art, a house"),
        ("a house, Pixel Art", ("pixel art",), "a house, Pixel Art"),
        ("a house", ("TOK", "ink"), "TOK, ink, a house"),
        ("a house", (), "a house"),
    ],
)
def test_trigger_words_go_in_front_and_are_never_doubled(
    prompt: str, words: tuple[str, ...], painted: str
) -> None:
    missing, text = add_trigger_words(prompt, words)
    assert text == painted
    assert all(word in painted for word in missing)
    assert add_trigger_words(text, words) == ((), text)
