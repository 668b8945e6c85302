"""The webhook against a real server on this machine, which only the tests take for public."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from fluxui.errors import ConfigurationError, OutOfMemory
from fluxui.generation import Generation, Status
from fluxui.request import GenerationRequest
from fluxui.settings import Settings
from fluxui.webhook import Webhook, choose_webhook, is_public, sign
from tests.conftest import FakePipeline, make_studio, paint


class Receiver(HTTPServer):
    """Remembers what it is sent; answers with `statuses`, one after another, then 204."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.met: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses: list[int] = []


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.met.append((self.path, dict(self.headers), body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fluxui.webhook.is_public", lambda address: True)
    monkeypatch.setattr("fluxui.webhook.BACKOFF", (0.01, 0.02))


def here(host: str, port: int) -> list[str]:
    assert host == "hook.test"
    return ["127.0.0.1"]


def webhook(receiver: Receiver) -> Webhook:
    url = f"http://hook.test:{receiver.server_port}/in?box=1#part"
    return Webhook(urlsplit(url), "a secret", here)


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


def until(receiver: Receiver, count: int) -> None:
    deadline = time.monotonic() + 10
    while len(receiver.met) < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.usefixtures("trusting")
def test_a_letter_is_whole_and_signed(receiver: Receiver) -> None:
    webhook(receiver).tell(generation())
    until(receiver, 1)
    path, headers, body = receiver.met[0]
    assert path == "/in?box=1"
    assert headers["Host"] == f"hook.test:{receiver.server_port}"  # by name, to the checked address
    stamp = headers["X-Fluxui-Timestamp"]
    assert abs(int(stamp) - time.time()) < 10
    assert headers["X-Fluxui-Signature"] == f"sha256={sign(b'a secret', stamp, body)}"
    told = json.loads(body)
    assert (told["event"], told["generation"]["id"]) == ("completed", "one")
    assert b"a key" not in body and b"user:ann" not in body


def test_the_signature_is_that_of_openssl() -> None:
    """printf '1.{}' | openssl dgst -sha256 -hmac key"""
    known = "1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224"
    assert sign(b"key", "1", b"{}") == known


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("status", [500, 503, 429, 408, 302])
def test_what_was_not_taken_is_sent_again(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status, status]
    webhook(receiver).tell(generation())
    until(receiver, 3)
    assert [path for path, _, _ in receiver.met] == ["/in?box=1"] * 3  # no redirect is followed
    assert len({body for _, _, body in receiver.met}) == 1


@pytest.mark.usefixtures("trusting")
def test_it_is_given_up_and_the_next_one_is_told(receiver: Receiver) -> None:
    receiver.statuses = [500] * 3 + [410]
    hook = webhook(receiver)
    for job_id in ("lost", "refused", "told"):
        hook.tell(generation(job_id))
        until(receiver, {"lost": 3, "refused": 4, "told": 5}[job_id])
    ids = [headers["X-Fluxui-Generation"] for _, headers, _ in receiver.met]
    assert ids == ["lost"] * 3 + ["refused", "told"]


@pytest.mark.usefixtures("trusting")
def test_only_ends_that_nobody_chose_are_told(receiver: Receiver) -> None:
    hook = webhook(receiver)
    for status in Status:
        hook.tell(generation(status.value, status))
    until(receiver, 2)
    time.sleep(0.05)
    told = {json.loads(body)["event"] for _, _, body in receiver.met}
    assert told == {"completed", "failed"} and len(receiver.met) == 2


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("2002:7f00:1::", False),  # 6to4 of 127.0.0.1
        ("64:ff9b::a00:1", False),  # NAT64 of 10.0.0.1
        ("ff02::1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], []])
def test_no_private_address_is_ever_met(receiver: Receiver, addresses: list[str]) -> None:
    url = urlsplit(f"http://hook.test:{receiver.server_port}/")
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return addresses

    Webhook(url, "a secret", resolve).tell(generation())
    deadline = time.monotonic() + 10
    while not asked and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert asked == ["hook.test"] and receiver.met == []


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


@pytest.mark.usefixtures("trusting")
def test_a_studio_tells_of_its_generations(
    settings: Settings, pipeline: FakePipeline, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Webhook.__init__, "__defaults__", (here,))
    url = f"http://hook.test:{receiver.server_port}/"
    update = {"webhook_url": url, "webhook_secret": SecretStr("a secret")}
    studio = make_studio(settings.model_copy(update=update), pipeline)
    done = paint(studio)
    pipeline.error = OutOfMemory("Out of memory at step 1.")
    failed = paint(studio)
    until(receiver, 2)
    studio.close()
    told = [json.loads(body)["generation"] for _, _, body in receiver.met]
    assert [one["id"] for one in told] == [done.id, failed.id]
    assert len(told[0]["images"]) == 1 and told[1]["error"]["code"] == "out_of_memory"
