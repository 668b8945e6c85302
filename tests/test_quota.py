from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fluxui.errors import LimitReached
from fluxui.generation import Generation, now
from fluxui.history.tiny import TinyHistory
from fluxui.quota import HOUR, Quota, accepted_lately
from fluxui.request import GenerationForm, GenerationRequest
from fluxui.settings import Settings
from fluxui.visitor import OWNER, Visitor
from tests.conftest import FakePipeline, make_studio

ANN, BOB = Visitor("user:ann"), Visitor("user:bob")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def quota(
    settings: Settings, clock: Clock, history: TinyHistory | None = None, **limits: int
) -> Quota:
    """With a `history` it follows a process that had accepted something."""
    changed = settings.model_copy(update=limits)
    return Quota(changed, lambda: accepted_lately(history) if history else (), clock)


def request(images: int = 1, steps: int = 10, **values: Any) -> GenerationRequest:
    """A million pixels, so that the work is images times steps."""
    return GenerationRequest(
        prompt="a boat",
        num_images=images,
        num_inference_steps=steps,
        guidance_scale=3,
        width=1000,
        height=1000,
        seed=0,
        **values,
    )


def spend(quota: Quota, visitor: Visitor, asked: GenerationRequest) -> None:
    with quota.spending(visitor, asked):
        pass


def refused(quota: Quota, visitor: Visitor, asked: GenerationRequest) -> LimitReached:
    with pytest.raises(LimitReached) as caught, quota.spending(visitor, asked):
        raise AssertionError("it went in")
    return caught.value


def test_images_of_one_visitor_within_an_hour(settings: Settings, clock: Clock) -> None:
    one = quota(settings, clock, visitor_images_per_hour=5)
    spend(one, ANN, request(2))
    clock.now += 600
    spend(one, ANN, request(3))
    error = refused(one, ANN, request(1))
    assert (error.status, error.retry_after) == (429, HOUR - 600)
    assert "50 min" in error.message
    assert refused(one, ANN, request(3)).retry_after == HOUR
    spend(one, BOB, request(4))
    clock.now += HOUR - 601
    refused(one, ANN, request(1))
    clock.now += 1
    spend(one, ANN, request(2))
    refused(one, ANN, request(1))


def test_work_of_one_visitor_within_an_hour(settings: Settings, clock: Clock) -> None:
    one = quota(settings, clock, visitor_megapixel_steps_per_hour=50)
    spend(one, ANN, request(2, steps=20))
    refused(one, ANN, request(1, steps=11))
    spend(one, ANN, request(1, steps=10))
    assert refused(one, BOB, request(1, steps=51)).retry_after == HOUR  # more than ever fits


def test_all_visitors_together(settings: Settings, clock: Clock) -> None:
    one = quota(settings, clock, total_images_per_hour=4)
    spend(one, ANN, request(2))
    spend(one, BOB, request(2))
    assert "all visitors together" in refused(one, Visitor("guest:new"), request()).message


def test_the_owner_has_no_limit_and_takes_nothing_from_others(
    settings: Settings, clock: Clock
) -> None:
    one = quota(settings, clock, visitor_images_per_hour=1, total_images_per_hour=1)
    for _ in range(10):
        spend(one, OWNER, request(4, steps=100))
    spend(one, ANN, request())


def test_what_was_not_accepted_costs_nothing(settings: Settings, clock: Clock) -> None:
    one = quota(settings, clock, visitor_images_per_hour=1)
    with pytest.raises(OSError, match="disk"), one.spending(ANN, request()):
        raise OSError("disk")
    spend(one, ANN, request())


def test_nothing_is_kept_of_those_who_are_gone(settings: Settings, clock: Clock) -> None:
    one = quota(settings, clock)
    for number in range(100):
        spend(one, Visitor(f"guest:{number}"), request())
    clock.now += HOUR
    spend(one, ANN, request())
    assert list(one._visitors) == [ANN.id] and len(one._total.spent) == 1


def asked(visitor: Visitor, ago: timedelta) -> Generation:
    return Generation(
        request=request(2),
        base_model="tiny",
        painted="a boat",
        visitor=visitor.id,
        created_at=now() - ago,
    )


def test_what_was_asked_for_before_a_restart_still_counts(
    settings: Settings, clock: Clock, tmp_path: Path
) -> None:
    history = TinyHistory(tmp_path / "history.json")
    long_ago, lately = timedelta(minutes=61), timedelta(minutes=20)
    for visitor, ago in [(ANN, long_ago), (ANN, lately), (OWNER, lately), (BOB, lately)]:
        history.add(asked(visitor, ago))
    one = quota(settings, clock, history, visitor_images_per_hour=3, total_images_per_hour=6)
    assert refused(one, ANN, request(2)).retry_after == HOUR - 20 * 60
    spend(one, ANN, request(1))
    assert "all visitors together" in refused(one, Visitor("guest:new"), request(2)).message
    clock.now += HOUR - 20 * 60 + 1
    spend(one, ANN, request(2))
    history.close()


def test_a_record_of_the_future_counts_for_an_hour_and_no_longer(
    settings: Settings, clock: Clock, tmp_path: Path
) -> None:
    history = TinyHistory(tmp_path / "history.json")
    history.add(asked(ANN, timedelta(days=-300)))
    one = quota(settings, clock, history, visitor_images_per_hour=2)
    assert refused(one, ANN, request()).retry_after == HOUR
    clock.now += HOUR
    spend(one, ANN, request())
    history.close()


def test_an_hour_may_be_longer_than_a_page(
    settings: Settings, clock: Clock, tmp_path: Path
) -> None:
    history = TinyHistory(tmp_path / "history.json")
    for _ in range(60):
        history.add(asked(ANN, timedelta(minutes=1)))
    one = quota(settings, clock, history, visitor_images_per_hour=121)
    spend(one, ANN, request(1))
    refused(one, ANN, request(1))
    history.close()


def test_a_restart_of_the_studio_forgives_nobody(
    settings: Settings, pipeline: FakePipeline
) -> None:
    settings = settings.model_copy(update={"visitor_images_per_hour": 1})
    form = GenerationForm(prompt="a boat", num_inference_steps=2)
    first = make_studio(settings, pipeline)
    first.serving(lambda: ANN).submit(form)
    first.close()
    second = make_studio(settings, pipeline)
    second.submit(form)
    second.serving(lambda: BOB).submit(form)
    with pytest.raises(LimitReached):
        second.serving(lambda: ANN).submit(form)
    second.close()
