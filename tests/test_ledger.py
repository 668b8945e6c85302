from __future__ import annotations

import pytest

from fluxui.generation import Generation, Status
from fluxui.history.tiny import TinyHistory
from fluxui.ledger import HistoryLedger
from fluxui.request import GenerationForm
from fluxui.studio import Studio
from tests.conftest import paint


@pytest.fixture
def told() -> list[Generation]:
    return []


@pytest.fixture
def ledger(fresh: TinyHistory, told: list[Generation]) -> HistoryLedger:
    return HistoryLedger(fresh, told.append)


@pytest.fixture
def queued(fresh: TinyHistory, studio: Studio) -> Generation:
    form = GenerationForm.parse({"prompt": "a red boat"})
    request = form.admit(studio.base_model.limits)
    generation = Generation(request=request, base_model="tiny", painted="a red boat")
    fresh.add(generation)
    return generation


def test_what_a_worker_tells_is_kept_once(
    ledger: HistoryLedger, fresh: TinyHistory, queued: Generation, told: list[Generation]
) -> None:
    running = Generation.model_validate_json(ledger.offer(queued.id)).advance(Status.running)
    ledger.keep(running.model_dump_json())
    assert fresh.get(queued.id) == running
    done = running.advance(Status.completed, seconds=1.0)
    for _ in range(2):
        ledger.keep(done.model_dump_json())
    ledger.keep(running.advance(Status.failed).model_dump_json())  # of another run of it
    assert fresh.get(queued.id) == done
    assert told == [done]
    assert ledger.offer(queued.id) == ""


def test_two_attempts_and_what_is_given_back_is_none(
    ledger: HistoryLedger, fresh: TinyHistory, queued: Generation, told: list[Generation]
) -> None:
    fresh.replace(queued.advance(Status.running))
    ledger.back(queued.id)
    assert fresh.get(queued.id).attempts == 0
    for attempt in (1, 2):
        fresh.replace(fresh.get(queued.id).advance(Status.running))
        assert ledger.lost(queued.id) is (attempt == 1)
    error = fresh.get(queued.id).error
    assert error is not None and error.code == "worker_lost"
    assert [one.status for one in told] == [Status.failed]


def test_what_is_gone_or_nonsense_changes_nothing(
    ledger: HistoryLedger, fresh: TinyHistory, queued: Generation, studio: Studio
) -> None:
    ledger.keep(paint(studio).model_dump_json())
    ledger.keep('{"id": 1}')
    ledger.cancelled(queued.id)
    assert fresh.get(queued.id).status is Status.cancelled
    assert not ledger.lost(queued.id) and not ledger.lost("nobody")
    assert [one.id for one in fresh.unfinished()] == []
