"""A client of the REST door alone, over a studio whose pipeline is fake, and LoRA files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from fluxui.api import build_api
from fluxui.gate import Gate
from fluxui.settings import Settings
from fluxui.studio import Studio
from tests.lora_files import fitting_lora, stranger_lora


@pytest.fixture
def client(studio: Studio) -> Iterator[TestClient]:
    api = Gate(build_api(studio), None, None)
    with TestClient(api, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def lora_bytes(settings: Settings) -> bytes:
    return fitting_lora(settings)


@pytest.fixture
def stranger_bytes() -> bytes:
    return stranger_lora()
