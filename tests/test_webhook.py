"""The webhook against a real server on this machine, which only the tests take for public."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from pydantic import SecretStr

from fluxui.errors import ConfigurationError, OutOfMemory
from fluxui.generation import Generation, Status, now
from fluxui.history.tiny import TinyHistory
from fluxui.post import Post, sign
from fluxui.request import GenerationForm, GenerationRequest
from fluxui.settings import Settings
from fluxui.studio import Studio
from fluxui.webhook import LONGEST, Webhook, choose_webhook, name_of
from tests.conftest import FakePipeline, make_studio, paint
from tests.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxui.post.is_public", lambda address: True)
    monkeypatch.setattr("fluxui.webhook.BACKOFF", (0.01, 0.02))


def here(host: str, port: int) -> list[str]:
    assert host == "hook.test"
    return ["127.0.0.1"]


def post(receiver: Receiver) -> Post:
    url = f"http://hook.test:{receiver.server_port}/in?box=1#part"
    return Post(urlsplit(url), "a secret", here)


@pytest.fixture
def hook(receiver: Receiver, tmp_path: Path) -> Webhook:
    return Webhook(post(receiver), tmp_path)


def generation(job_id: str = "one", status: Status = Status.completed) -> Generation:
    request = GenerationRequest(
        prompt="a boat",
        num_images=1,
        num_inference_steps=1,
        guidance_scale=1,
        width=64,
        height=64,
        seed=0,
    )
    return Generation(
        id=job_id,
        request=request,
        status=status,
        base_model="tiny",
        painted="a boat",
        idempotency_key="a key",
        visitor="user:ann",
    )


@pytest.mark.usefixtures("trusting")
def test_a_letter_is_whole_and_signed(hook: Webhook, receiver: Receiver) -> None:
    hook.tell(generation())
    receiver.until(1)
    path, headers, body = receiver.met[0]
    assert path == "/in?box=1"
    assert headers["Host"] == f"hook.test:{receiver.server_port}"  # by name, to the checked address
    stamp = headers["X-Fluxui-Timestamp"]
    assert abs(int(stamp) - time.time()) < 10
    assert headers["X-Fluxui-Signature"] == f"sha256={sign(b'a secret', stamp, body)}"
    told = json.loads(body)
    assert (told["event"], told["generation"]["id"]) == ("completed", "one")
    assert told["delivery"] == headers["X-Fluxui-Delivery"] == name_of(generation())
    assert b"a key" not in body and b"user:ann" not in body


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("status", [500, 503, 429, 408, 302])
def test_what_was_not_taken_is_sent_again(hook: Webhook, receiver: Receiver, status: int) -> None:
    receiver.statuses = [status, status]
    hook.tell(generation())
    receiver.until(3)
    assert [path for path, _, _ in receiver.met] == ["/in?box=1"] * 3  # no redirect is followed
    assert len({body for _, _, body in receiver.met}) == 1


@pytest.mark.usefixtures("trusting")
def test_it_is_given_up_and_the_next_one_is_told(hook: Webhook, receiver: Receiver) -> None:
    receiver.statuses = [500] * 3 + [410]
    for job_id in ("lost", "refused", "told"):
        hook.tell(generation(job_id))
        receiver.until({"lost": 3, "refused": 4, "told": 5}[job_id])
    ids = [json.loads(body)["generation"]["id"] for _, _, body in receiver.met]
    assert ids == ["lost"] * 3 + ["refused", "told"]


@pytest.mark.parametrize(
    "url",
    [
        "hook.test",
        "ftp://hook.test",
        "file:///etc/passwd",
        "https://",
        "https://a:b@hook.test",
        "http://hook.test:99999",
        "http://[::1",
    ],
)
def test_an_address_that_is_none(settings: Settings, url: str) -> None:
    update = {"webhook_url": url, "webhook_secret": SecretStr("s")}
    with pytest.raises(ConfigurationError):
        choose_webhook(settings.model_copy(update=update))


def test_a_secret_is_needed(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="SECRET"):
        choose_webhook(settings.model_copy(update={"webhook_url": "https://hook.test"}))


@pytest.fixture
def told_studio(
    settings: Settings, receiver: Receiver, trusting: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[[FakePipeline], Studio]:
    """A studio that tells the receiver."""
    monkeypatch.setattr(Post.__init__, "__defaults__", (here,))
    url = f"http://hook.test:{receiver.server_port}/"
    update = {"webhook_url": url, "webhook_secret": SecretStr("a secret")}
    return lambda pipeline: make_studio(settings.model_copy(update=update), pipeline)


def events(receiver: Receiver) -> list[tuple[str, str]]:
    met = [json.loads(body) for _, _, body in receiver.met]
    return [(one["generation"]["id"], one["event"]) for one in met]


def test_a_studio_tells_of_every_end(
    told_studio: Callable[[FakePipeline], Studio], pipeline: FakePipeline, receiver: Receiver
) -> None:
    studio = told_studio(pipeline)
    done = paint(studio)
    pipeline.error = OutOfMemory("Out of memory at step 1.")
    failed = paint(studio)
    receiver.until(2)
    pipeline.error = None
    pipeline.gate.clear()
    running, waiting = (studio.submit(GenerationForm(prompt="a boat")) for _ in range(2))
    studio.cancel(waiting.id)
    threading.Timer(0.1, pipeline.gate.set).start()
    studio.cancel(running.id)
    receiver.until(4)
    studio.close()
    assert events(receiver) == [
        (done.id, "completed"),
        (failed.id, "failed"),
        (waiting.id, "cancelled"),
        (running.id, "cancelled"),
    ]
    told = [json.loads(body)["generation"] for _, _, body in receiver.met]
    assert len(told[0]["images"]) == 1 and told[1]["error"]["code"] == "out_of_memory"


def test_who_was_lost_with_the_machine_is_told_by_the_next_one(
    told_studio: Callable[[FakePipeline], Studio],
    settings: Settings,
    pipeline: FakePipeline,
    receiver: Receiver,
) -> None:
    told_studio(pipeline).close()
    history = TinyHistory(settings.data_dir / "history.json")
    queued = generation(str(uuid4()), Status.queued)
    lost = queued.advance(Status.running).model_copy(update={"attempts": 2})
    history.add(lost)
    history.close()
    studio = told_studio(pipeline)
    receiver.until(1)
    studio.close()
    assert events(receiver) == [(lost.id, "failed")]
    assert json.loads(receiver.met[0][2])["generation"]["error"]["code"] == "worker_lost"


def test_what_was_not_delivered_is_delivered_after_a_restart_under_the_same_name(
    told_studio: Callable[[FakePipeline], Studio],
    pipeline: FakePipeline,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fluxui.webhook.BACKOFF", (60.0,))
    studio = told_studio(pipeline)
    first = paint(studio)
    receiver.until(1)
    receiver.statuses = [503] * 2
    second, third = paint(studio), paint(studio)
    receiver.until(3)
    studio.close()
    names = {one["generation"]["id"]: one["delivery"] for one in bodies(receiver)}
    receiver.met, receiver.statuses = [], []
    again = told_studio(pipeline)
    receiver.until(2)
    fourth = paint(again)
    receiver.until(3)
    again.close()
    assert [job_id for job_id, _ in events(receiver)] == [second.id, third.id, fourth.id]
    assert [one["delivery"] for one in bodies(receiver)][:2] == [names[second.id], names[third.id]]
    assert first.id in names


def bodies(receiver: Receiver) -> list[Any]:
    return [json.loads(body) for _, _, body in receiver.met]


def ended(ago: timedelta) -> Generation:
    return generation(str(uuid4())).model_copy(update={"completed_at": now() - ago})


@pytest.mark.usefixtures("trusting")
def test_the_past_is_bounded(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what ended before there was a webhook, not what is too old, not more than the newest."""
    monkeypatch.setattr("fluxui.webhook.MAX_WAITING", 3)
    history = TinyHistory(tmp_path / "history.json")
    for ago in (LONGEST * 2, LONGEST, timedelta(0)):
        history.add(ended(ago))
    Webhook(post(receiver), tmp_path / "new").catch_up(history)
    since = (now() - LONGEST * 3).isoformat()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "told.txt").write_text(since)
    news = [ended(timedelta(seconds=9 - number)) for number in range(4)]
    for one in [*news, generation(str(uuid4()), Status.queued)]:
        history.add(one)
    hook = Webhook(post(receiver), tmp_path / "old")
    hook.catch_up(history)
    receiver.until(2)
    time.sleep(0.05)
    assert [job_id for job_id, _ in events(receiver)] == [one.id for one in news[2:]]
    history.close()


def test_without_a_webhook_nothing_is_left_to_tell(settings: Settings) -> None:
    update = {"webhook_url": "https://hook.test", "webhook_secret": SecretStr("s")}
    choose_webhook(settings.model_copy(update=update))
    assert (settings.data_dir / "webhook" / "told.txt").exists()
    choose_webhook(settings)
    assert not (settings.data_dir / "webhook" / "told.txt").exists()
