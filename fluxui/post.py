"""One signed letter to a server on a public address, over HTTP or HTTPS.

The name is resolved once, every address checked, and the connection made to the one that was
checked, with the name in `Host` and in TLS: a name that is resolved anew later leads nowhere
else. Redirects are not followed. It knows nothing of generations, and never tries twice.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
import time
from collections.abc import Callable
from urllib.parse import SplitResult, urlsplit

from fluxui import __version__
from fluxui.errors import Forbidden

TIMEOUT = 10.0
PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Resolve = Callable[[str, int], list[str]]


def target_of(url: str) -> SplitResult | None:
    """None if it is no address of a server."""
    try:
        target = urlsplit(url)
        whole = target.scheme in PORTS and target.hostname and target.port != 0
    except ValueError:
        return None
    return target if whole and target.username is None else None


def resolve(host: str, port: int) -> list[str]:
    """Every address of a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Post:
    """The way to one receiver, who knows the same secret."""

    def __init__(self, target: SplitResult, secret: str, resolve: Resolve = resolve) -> None:
        self._target = target
        self._secret = secret.encode()
        self._resolve = resolve

    def send(self, delivery: str, body: bytes) -> int:
        """The status of the answer. `delivery` names the letter, however often it is sent.

        Raises Forbidden for an address that is not public, OSError and UnicodeError where
        nobody answers.
        """
        import httpx2  # only whoever has a webhook waits for it

        host = self._target.hostname or ""
        port = self._target.port or PORTS[self._target.scheme]
        address = checked(self._resolve(host, port))
        literal = f"[{address}]" if ":" in address else address
        url = self._target._replace(netloc=f"{literal}:{port}", fragment="").geturl()
        headers = self._headers(delivery, body)
        # The certificate is that of the name.
        extensions = {"sni_hostname": host}
        # No proxy of the environment: it would connect to what it resolves itself. Of the
        # environment counts only who signs certificates.
        trusted = httpx2.create_ssl_context(trust_env=True)
        client = httpx2.Client(
            timeout=TIMEOUT, verify=trusted, trust_env=False, follow_redirects=False
        )
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

    def _headers(self, delivery: str, body: bytes) -> dict[str, str]:
        stamp = str(int(time.time()))
        return {
            "Host": self._target.netloc,
            "Content-Type": "application/json",
            "User-Agent": f"fluxui/{__version__}",
            "X-Fluxui-Delivery": delivery,
            "X-Fluxui-Timestamp": stamp,
            "X-Fluxui-Signature": f"sha256={sign(self._secret, stamp, body)}",
        }


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
