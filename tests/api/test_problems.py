from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from fluxui.studio import Studio


def test_an_unknown_address(client: TestClient) -> None:
    for path in ("/api/nothing", "/api/generate/x/y/z", "/api/"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert answer.json()["code"] == "not_found"


def test_addresses_that_are_not_ours_keep_their_errors(client: TestClient) -> None:
    assert client.get("/gradio_api/nothing").json() == {"detail": "Not Found"}


def test_a_method_that_is_not_taken(client: TestClient) -> None:
    answer = client.put("/api/generate/x")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert "allow" in answer.headers


def test_an_accident_tells_nothing_of_the_inside(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Studio) -> None:
        raise RuntimeError("secret-of-the-inside")

    monkeypatch.setattr(Studio, "system", broken)
    answer = client.get("/api/health")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
