from __future__ import annotations

from typing import Any

import pytest

from fluxui.errors import LimitReached
from fluxui.quota import HOUR, Quota
from fluxui.request import GenerationRequest
from fluxui.settings import Settings
from fluxui.visitor import OWNER, Visitor

ANN, BOB = Visitor("user:ann"), Visitor("user:bob")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def quota(settings: Settings, clock: Clock, **limits: int) -> Quota:
    return Quota(settings.model_copy(update=limits), clock)


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
