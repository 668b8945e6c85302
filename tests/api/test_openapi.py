"""What `/docs` shows is a contract: a change of it is meant, or it is a mistake."""

from __future__ import annotations

import json
from pathlib import Path

from fastapi.testclient import TestClient

GOLDEN = Path(__file__).parent.parent / "golden" / "openapi.json"


def test_the_openapi_document_is_the_golden_one(client: TestClient) -> None:
    told = client.get("/openapi.json").json()
    assert told == json.loads(GOLDEN.read_text()), (
        "The REST contract changed. If that is meant: python -m tests.golden.write"
    )


def test_docs_are_there(client: TestClient) -> None:
    assert client.get("/docs").status_code == 200


def test_health(client: TestClient) -> None:
    told = client.get("/api/health").json()
    assert (told["status"], told["base_model"], told["loaded"]) == ("ok", "tiny", False)
    assert told["queue"] == {"running": 0, "waiting": 0, "size": 64, "seconds_left": 0}
