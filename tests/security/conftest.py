"""One fluxui with a login, as a share link would have it, for every test of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from pydantic import SecretStr

from fluxui.server import App
from fluxui.settings import Settings
from tests.live import serving

LOGIN = ("ann", "a-password")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("fluxui"),
        base_model="tiny",
        auth=SecretStr(":".join(LOGIN)),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fluxui.gate.WRONG_SECONDS", 0)
        with serving(settings) as app:
            yield app


@pytest.fixture
def stranger(live: App) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url) as client:
        yield client


@pytest.fixture
def owner(live: App) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live.url, auth=LOGIN) as client:
        yield client
