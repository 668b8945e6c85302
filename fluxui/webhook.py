"""Tells another server that a generation is completed or has failed, signed, off every thread
that works.

It goes to public addresses only: the name is resolved, every address checked, and the connection
made to the one that was checked. It knows no door. What was not told yet when the process ends
is not told: the history has it.
"""

from __future__ import annotations

import hashlib
import heapq
import hmac
import ipaddress
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from fluxui import __version__
from fluxui.errors import ConfigurationError, Forbidden
from fluxui.generation import Generation, Status
from fluxui.settings import Settings

log = logging.getLogger(__name__)

TOLD = frozenset({Status.completed, Status.failed})
# Seconds before the second, third … try; then it is given up.
BACKOFF = (2.0, 10.0, 60.0, 300.0)
MAX_WAITING = 1000
TIMEOUT = 10.0
PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Resolve = Callable[[str, int], list[str]]
Tell = Callable[[Generation], None]


def choose_webhook(settings: Settings) -> Tell:
    """What is called with every ended generation. Raises ConfigurationError."""
    if not settings.webhook_url:
        return lambda _: None
    if settings.webhook_secret is None:
        raise ConfigurationError(
            "FLUXUI_WEBHOOK_URL needs FLUXUI_WEBHOOK_SECRET.", "Any long random text will do."
        )
    target = _target(settings.webhook_url)
    if target is None:
        raise ConfigurationError("FLUXUI_WEBHOOK_URL is no address of a server.", "https://…")
    return Webhook(target, settings.webhook_secret.get_secret_value()).tell


def _target(url: str) -> SplitResult | None:
    try:
        target = urlsplit(url)
        whole = target.scheme in PORTS and target.hostname and target.port != 0
    except ValueError:
        return None
    return target if whole and target.username is None else None


@dataclass(order=True)
class _Letter:
    """One message, and when to try it next."""

    due: float
    number: int
    job_id: str = field(compare=False)
    body: bytes = field(compare=False)
    tries: int = field(compare=False, default=0)


def resolve(host: str, port: int) -> list[str]:
    """Every address of a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Webhook:
    """One thread that delivers, the next due letter first. The thread starts with the first."""

    def __init__(self, target: SplitResult, secret: str, resolve: Resolve = resolve) -> None:
        self._target = target
        self._secret = secret.encode()
        self._resolve = resolve
        self._letters: list[_Letter] = []
        self._count = 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="fluxui-webhook", daemon=True)

    def tell(self, generation: Generation) -> None:
        """Never waits, and never raises."""
        if generation.status not in TOLD:
            return
        with self._changed:
            if len(self._letters) >= MAX_WAITING:
                log.warning("The webhook was not told of %s: too many wait.", generation.id)
                return
            self._count += 1
            now = time.monotonic()
            letter = _Letter(now, self._count, generation.id, _body(generation))
            heapq.heappush(self._letters, letter)
            self._changed.notify()
            if not self._thread.ident:
                self._thread.start()

    def _work(self) -> None:
        while True:
            letter = self._next()
            if self._deliver(letter):
                continue
            if letter.tries >= len(BACKOFF):
                log.warning("The webhook could not be told of %s.", letter.job_id)
                continue
            letter.due = time.monotonic() + BACKOFF[letter.tries]
            letter.tries += 1
            with self._changed:
                heapq.heappush(self._letters, letter)

    def _next(self) -> _Letter:
        with self._changed:
            while True:
                wait = self._letters[0].due - time.monotonic() if self._letters else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._letters)
                self._changed.wait(wait)

    def _deliver(self, letter: _Letter) -> bool:
        """Whether there is nothing more to do about it."""
        try:
            status = self.post(letter.job_id, letter.body)
        except Forbidden as error:
            log.warning("The webhook was not told of %s: %s", letter.job_id, error)
            return True
        except (OSError, UnicodeError) as error:
            log.info("The webhook did not answer (%s).", type(error).__name__)
            return False
        if 400 <= status < 500 and status not in (408, 429):
            log.warning("The webhook refused %s with %d.", letter.job_id, status)
            return True
        return status < 300

    def post(self, job_id: str, body: bytes) -> int:
        """The status of the answer. Raises Forbidden for a target that is not public, OSError."""
        import httpx2  # only whoever has a webhook waits for it

        host = self._target.hostname or ""
        port = self._target.port or PORTS[self._target.scheme]
        address = checked(self._resolve(host, port))
        stamp = str(int(time.time()))
        headers = {
            "Host": self._target.netloc,
            "Content-Type": "application/json",
            "User-Agent": f"fluxui/{__version__}",
            "X-Fluxui-Generation": job_id,
            "X-Fluxui-Timestamp": stamp,
            "X-Fluxui-Signature": f"sha256={sign(self._secret, stamp, body)}",
        }
        literal = f"[{address}]" if ":" in address else address
        url = self._target._replace(netloc=f"{literal}:{port}", fragment="").geturl()
        # No proxy of the environment: it would connect to what it resolves itself.
        client = httpx2.Client(timeout=TIMEOUT, trust_env=False, follow_redirects=False)
        # The certificate is that of the name.
        extensions = {"sni_hostname": host}
        try:
            with (
                client,
                client.stream(
                    "POST", url, content=body, headers=headers, extensions=extensions
                ) as answer,
            ):
                return answer.status_code
        except httpx2.HTTPError as error:
            raise ConnectionError(type(error).__name__) from error


def sign(secret: bytes, stamp: str, body: bytes) -> str:
    """HMAC-SHA256 of the time, a dot and the body, in hex."""
    return hmac.new(secret, stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def checked(addresses: list[str]) -> str:
    """The first one, if all are public. Raises Forbidden."""
    if not addresses or not all(map(is_public, addresses)):
        raise Forbidden("It is no public address.")
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether it belongs to nobody's own network, in whatever notation."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is not None:
            return is_public(str(inner))
        if ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip.is_global and not ip.is_multicast


def _body(generation: Generation) -> bytes:
    record = generation.record()
    del record["idempotency_key"], record["visitor"]
    return json.dumps({"event": generation.status.value, "generation": record}).encode()
