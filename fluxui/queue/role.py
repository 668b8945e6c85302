"""Whose Redis it is: one page's at a time, as long as that one says so.

It knows no queue; who has the role keeps saying so elsewhere.
"""

from __future__ import annotations

import socket
import time
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from fluxui.errors import ConfigurationError
from fluxui.queue.wire import BEAT_SECONDS, Terms, Wire


def page_name(data_dir: Path) -> str:
    """This process as a page; its predecessor on this data folder had the same beginning."""
    machine = sha256(f"{socket.gethostname()} {data_dir}".encode()).hexdigest()[:16]
    return f"{machine}/{uuid4().hex[:8]}"


def become_page(wire: Wire, owner: str, on: Terms) -> None:
    """Raises ConfigurationError if another page is at work, RedisUnavailable."""
    while not wire.claim_page(owner, on):
        told = wire.page()
        if told and told[0].split("/")[0] == owner.split("/")[0]:
            return wire.stay_page(owner, on)  # the history's lock says that it is dead
        left = wire.page_seconds()
        time.sleep(BEAT_SECONDS)
        if wire.page_seconds() > left - BEAT_SECONDS / 2:
            raise ConfigurationError(
                "Another fluxui page uses this Redis.",
                "Give each page its own, or a number of its own: redis://127.0.0.1:6379/1",
            )
