"""The order alone, with a clock of its own: every small case, and long random ones."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterable

import pytest

from fluxui.queue.order import PATIENCE_SECONDS, Order, Ticket


def order_of(*tickets: Ticket) -> Order:
    order = Order()
    for ticket in tickets:
        order.add(ticket)
    return order


def tickets(words: str, seconds: float | None = None) -> list[Ticket]:
    """`"a1 b1:x"` is one of a without a LoRA, then one of b with the LoRA x."""
    parts = [word.partition(":") for word in words.split()]
    return [Ticket(name, name[0], tuple(filter(None, [lora])), seconds) for name, _, lora in parts]


def taken(order: Order, now: float = 0.0) -> list[tuple[float, Ticket]]:
    """All of it, each with the time at which it was taken, on a machine that keeps its word."""
    found = []
    while ticket := order.take(now):
        found.append((now, ticket))
        now += ticket.seconds or 0.0
    return found


def ids(order: Order) -> str:
    planned = order.ids(0.0)
    names = [ticket.job_id for _, ticket in taken(order)]
    assert planned[: len(names)] == names
    return " ".join(names)


@pytest.mark.parametrize(
    ("come", "go"),
    [
        ("a1 a2 a3", "a1 a2 a3"),
        ("a1 a2 a3 b1", "a1 b1 a2 a3"),
        ("a1 a2 b1 b2 c1", "a1 b1 c1 a2 b2"),
        ("a1 a2 a3 b1 b2", "a1 b1 a2 b2 a3"),
        ("", ""),
    ],
)
def test_turns(come: str, go: str) -> None:
    assert ids(order_of(*tickets(come))) == go


@pytest.mark.parametrize(
    ("come", "go"),
    [
        ("a1:x b1:y a2:x b2:y", "a1 a2 b1 b2"),
        ("a1:x b1:y c1:x", "a1 c1 b1"),
        ("a1:x b1:y a2:y a3:x", "a1 b1 a2 a3"),  # first in, first out within one
        ("a1:x b1:y a2:x a3:x a4:x b2:z", "a1 a2 b1 b2 a3 a4"),  # a leap uses up the turn
        ("a1:x b1:y c1:x b2:y c2:x", "a1 c1 b1 b2 c2"),
    ],
)
def test_same_loras_are_grouped(come: str, go: str) -> None:
    assert ids(order_of(*tickets(come, seconds=5))) == go
    assert ids(order_of(*tickets(come, seconds=None))) == ids(
        order_of(*[Ticket(one.job_id, one.visitor) for one in tickets(come)])
    ), "nobody is passed over where nothing was measured"


def test_nobody_is_passed_over_for_one_that_takes_too_long() -> None:
    come = "a1:x b1:y a2:x"
    assert ids(order_of(*tickets(come, PATIENCE_SECONDS))) == "a1 a2 b1"
    assert ids(order_of(*tickets(come, PATIENCE_SECONDS + 0.1))) == "a1 b1 a2"


def test_what_took_longer_than_it_said_counts() -> None:
    order = order_of(*tickets("a1:x b1:y c1:x d1:x", seconds=5))
    assert [order.take(0.0), order.take(5.0)] == tickets("a1:x c1:x", seconds=5)
    late = order.take(5.0 + PATIENCE_SECONDS)
    assert late and late.job_id == "b1"


def fair(come: Iterable[Ticket]) -> dict[str, int]:
    """The place of each without grouping."""
    plain = [Ticket(one.job_id, one.visitor, (), one.seconds) for one in come]
    return {ticket.job_id: place for place, (_, ticket) in enumerate(taken(order_of(*plain)))}


def test_every_small_queue() -> None:
    """All queues of five by three visitors with two LoRAs: nobody is lost, each visitor's own
    come in order, the plan is what happens, and nobody waits for a group beyond the patience."""
    for visitors in itertools.product("abc", repeat=5):
        for loras in itertools.product("xy", repeat=5):
            come = [
                Ticket(f"{visitor}{number}", visitor, (lora,), 12.0)
                for number, (visitor, lora) in enumerate(zip(visitors, loras, strict=True))
            ]
            order = order_of(*come)
            planned = order.ids(0.0)
            went = taken(order)
            names = [ticket.job_id for _, ticket in went]
            assert planned == names and sorted(names) == sorted(one.job_id for one in come)
            for visitor in "abc":
                own = [name for name in names if name[0] == visitor]
                assert own == [one.job_id for one in come if one.visitor == visitor]
            places = fair(come)
            for now, ticket in went:
                assert now - 12.0 * places[ticket.job_id] <= PATIENCE_SECONDS, names


def test_nobody_starves_behind_a_stream_of_others() -> None:
    """b waits; new visitors keep coming with the LoRA that is merged already."""
    order, now = order_of(*tickets("a1:x", 1.0)), 0.0
    order.take(now)
    order.add(Ticket("b1", "b", ("y",), 1.0))
    began = now
    for number in itertools.count():
        order.add(Ticket(f"c{number}", f"c{number}", ("x",), 1.0))
        now += 1.0
        ticket = order.take(now)
        assert ticket
        if ticket.job_id == "b1":
            break
    assert PATIENCE_SECONDS - 2 <= now - began <= PATIENCE_SECONDS + 1


def test_no_visitor_starves_behind_newcomers() -> None:
    """Without any LoRA: who has been here before waits no longer than who comes first now."""
    order = order_of(Ticket("a1", "a"))
    order.take(0)
    order.add(Ticket("a2", "a"))
    for number in range(3):
        order.add(Ticket(f"n{number}", f"n{number}"))
    assert order.ids(0) == ["a2", "n0", "n1", "n2"]


def test_grouping_keeps_swaps_rare_and_turns_fair() -> None:
    chance = random.Random(7)
    come = [
        Ticket(f"{visitor}{number}", visitor, (chance.choice("xyz"),), 2.0)
        for number, visitor in enumerate(chance.choices("abcdef", k=300))
    ]

    def swaps(went: list[tuple[float, Ticket]]) -> int:
        loras = [ticket.loras for _, ticket in went]
        return sum(one != other for one, other in itertools.pairwise(loras))

    went = taken(order_of(*come))
    unmeasured = [Ticket(one.job_id, one.visitor, one.loras) for one in come]
    assert swaps(went) < 0.6 * swaps(taken(order_of(*unmeasured)))


def test_remove_and_move_up_concern_the_own_lane_only() -> None:
    order = order_of(*tickets("a1 b1 a2 b2 a3"))
    order.move_up("a3")
    assert order.ids(0) == ["a3", "b1", "a1", "b2", "a2"]
    order.remove("b1")
    assert order.ids(0) == ["a3", "b2", "a1", "a2"]
    order.remove("b2")
    assert order.ids(0) == ["a3", "a1", "a2"] and len(order) == 3
    for call in (order.remove, order.move_up):
        with pytest.raises(KeyError):
            call("b2")


def test_pause_holds_back_one_visitor_only() -> None:
    order = order_of(*tickets("a1 a2 b1"))
    order.pause("a", True)
    order.pause("a", True)
    order.add(Ticket("a3", "a"))
    assert order.ids(0) == ["b1", "a1", "a2", "a3"]
    assert order.paused("a1") and not order.paused("b1")
    assert ids(order) == "b1" and order.take(0) is None and order.waiting("a") == 3
    order.add(Ticket("b2", "b"))
    order.pause("a", False)
    assert ids(order) == "b2 a1 a2 a3"


def test_a_pause_outlasts_an_empty_lane() -> None:
    order = Order()
    order.pause("a", True)
    order.add(Ticket("a1", "a"))
    assert order.take(0) is None
    order.remove("a1")
    order.add(Ticket("a2", "a"))
    assert order.take(0) is None
    order.pause("a", False)
    assert ids(order) == "a2"


def test_all_pauses_end_at_once() -> None:
    order = order_of(*tickets("a1 b1 c1"))
    order.pause("a", True)
    order.pause("b", True)
    order.go_on()
    assert ids(order) == "c1 a1 b1"


def test_visitors_leave_nothing_behind() -> None:
    order = Order()
    for number in range(100):
        order.add(Ticket(f"{number}", f"visitor {number}", ("x",), 1.0))
        order.take(float(number))
    assert not any([order._lanes, order._turns, order._visitors, order._lost])


def test_a_thousand_are_ordered_at_once() -> None:
    come = [Ticket(f"{n}", f"{n % 200}", (f"{n % 7}",), 1.0) for n in range(1000)]
    order = order_of(*come)
    began = time.perf_counter()
    assert len(order.ids(0)) == 1000 == len(order)
    assert time.perf_counter() - began < 0.2
