"""What stands between a browser and us: whose word about that counts, and that streams flow.

Uvicorn takes scheme and address from a proxy that it trusts. Gradio and our own addresses also
read the headers themselves, so this middleware takes them from everybody else. It knows no login
and no route.
"""

from __future__ import annotations

import ipaddress
import sys
from ipaddress import IPv4Network, IPv6Network

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fluxui.errors import ConfigurationError
from fluxui.settings import Settings

EVERYBODY = "*"
TOLD_BY_PROXIES = (b"forwarded", b"x-forwarded-", b"x-real-ip")
NEVER_OURS = (b"x-gradio-server",)  # from a Node server that we do not run


def choose_trusted(settings: Settings) -> str:
    """Addresses and networks with commas between, as uvicorn reads them. Where only the host's
    own proxy can reach this machine, whatever its address: `*`."""
    if settings.in_space or "google.colab" in sys.modules:
        return EVERYBODY
    return settings.forwarded_allow_ips


class ProxyHeaders:
    """In front of the gate, inside uvicorn's own. Raises ConfigurationError."""

    def __init__(self, app: ASGIApp, trusted: str) -> None:
        self._app = app
        self._trusted = None if trusted == EVERYBODY else _networks(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        hidden = NEVER_OURS if self._trusts(scope) else NEVER_OURS + TOLD_BY_PROXIES
        headers = [(name, value) for name, value in scope["headers"] if not name.startswith(hidden)]

        async def flowing(message: Message) -> None:
            if message["type"] == "http.response.start":
                _unbuffered(MutableHeaders(scope=message))
            await send(message)

        await self._app({**scope, "headers": headers}, receive, flowing)

    def _trusts(self, scope: Scope) -> bool:
        """Uvicorn writes port 0 where it believed a proxy about the address; no peer has that."""
        host, port = scope.get("client") or ("", 1)
        return self._trusted is None or port == 0 or _is_in(host, self._trusted)


def _networks(told: str) -> list[IPv4Network | IPv6Network]:
    try:
        return [ipaddress.ip_network(one.strip()) for one in told.split(",") if one.strip()]
    except ValueError as error:
        raise ConfigurationError(
            f"FORWARDED_ALLOW_IPS: {error}.",
            "Give addresses or networks with commas between, like 10.0.0.0/8.",
        ) from None


def _is_in(host: str, networks: list[IPv4Network | IPv6Network]) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a socket without an address
        return False
    return any(address in network for network in networks)


def _unbuffered(headers: MutableHeaders) -> None:
    """nginx passes a stream on at once only if it is told to."""
    if headers.get("content-type", "").startswith("text/event-stream"):
        headers.setdefault("X-Accel-Buffering", "no")
