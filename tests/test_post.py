"""A letter to a real server on this machine, which only the tests take for public."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from fluxui.errors import Forbidden
from fluxui.post import Post, is_public, sign
from tests.authority import Authority
from tests.receiver import Receiver, receiving


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine is one that anybody may meet."""
    monkeypatch.setattr("fluxui.post.is_public", lambda address: True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def trusted(authority: Authority, public: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.trusted))


def here(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def secure(receiver: Receiver, host: str = "hook.test") -> Post:
    return Post(urlsplit(f"https://{host}:{receiver.server_port}/in"), "a secret", here)


@pytest.mark.usefixtures("trusted")
def test_over_tls_by_the_name_to_the_checked_address(authority: Authority) -> None:
    asked: list[str | None] = []
    context = authority.server("hook.test")
    context.sni_callback = lambda socket, name, _: asked.append(name)
    with receiving(context) as receiver:
        assert secure(receiver).send("one", b"{}") == 204
        (_, headers, body) = receiver.met[0]
        assert (body, asked) == (b"{}", ["hook.test"])
        assert headers["Host"] == f"hook.test:{receiver.server_port}"
        assert headers["X-Fluxui-Delivery"] == "one"


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("what", ["another name", "another authority", "expired", "the address"])
def test_a_wrong_certificate_gets_no_letter(
    what: str, authority: Authority, tmp_path: Path
) -> None:
    contexts: dict[str, ssl.SSLContext] = {
        "another name": authority.server("elsewhere.test"),
        "another authority": Authority(tmp_path).server("hook.test"),
        "expired": authority.server("hook.test", timedelta(days=-1)),
        "the address": authority.server("127.0.0.1"),
    }
    with receiving(contexts[what]) as receiver:
        with pytest.raises(ConnectionError):
            secure(receiver).send("one", b"{}")
        assert receiver.met == []


@pytest.mark.usefixtures("public")
def test_an_authority_of_nobody_is_not_trusted(authority: Authority) -> None:
    with receiving(authority.server("hook.test")) as receiver:
        with pytest.raises(ConnectionError):
            secure(receiver).send("one", b"{}")
        assert receiver.met == []


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int, authority: Authority, receiver: Receiver) -> None:
    with receiving(authority.server("hook.test")) as secured:
        secured.statuses, secured.elsewhere = [status], receiver.elsewhere
        assert secure(secured).send("one", b"{}") == status
    assert receiver.met == []


def test_a_name_that_leads_elsewhere_the_second_time(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when it is checked, this machine a moment later."""
    answers = [["93.184.216.34"], ["127.0.0.1"]]
    met: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        return answers.pop(0)

    def connect(address: tuple[str, int], *rest: object, **more: object) -> None:
        met.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.create_connection", connect)
    post = Post(urlsplit(f"http://hook.test:{receiver.server_port}/"), "a secret", resolve)
    with pytest.raises(ConnectionError):
        post.send("one", b"{}")
    assert met == ["93.184.216.34"] and len(answers) == 1
    with pytest.raises(Forbidden):
        post.send("one", b"{}")
    assert met == ["93.184.216.34"]


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"])
def test_no_proxy_is_asked(name: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    url = f"http://hook.test:{receiver.server_port}/"
    assert Post(urlsplit(url), "a secret", here).send("one", b"{}") == 204


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
    with pytest.raises(Forbidden):
        Post(url, "a secret", lambda host, port: addresses).send("one", b"{}")
    assert receiver.met == []


def test_the_signature_is_that_of_openssl() -> None:
    """printf '1.{}' | openssl dgst -sha256 -hmac key"""
    known = "1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224"
    assert sign(b"key", "1", b"{}") == known


def test_the_receiver_of_the_docs_believes_it(receiver: Receiver) -> None:
    page = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
    [example] = re.findall(r"^```python\n(import hashlib.*?)^```", page, re.MULTILINE | re.DOTALL)
    there: dict[str, Any] = {}
    exec(compile(example, "docs/api.md", "exec"), there)
    post = Post(urlsplit("http://hook.test/"), there["SECRET"].decode())
    headers = post._headers("one", b"{}")
    believes = there["comes_from_fluxui"]
    assert believes(headers, b"{}")
    assert not believes(headers, b"{ }")
    old = str(int(time.time()) - 301)
    assert not believes(headers | {"X-Fluxui-Timestamp": old}, b"{}")
    stale = f"sha256={sign(there['SECRET'], old, b'{}')}"
    assert not believes({"X-Fluxui-Timestamp": old, "X-Fluxui-Signature": stale}, b"{}")
