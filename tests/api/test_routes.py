from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from fluxui.api import build_api
from fluxui.api.routes import MAX_JSON
from fluxui.gate import Gate
from fluxui.studio import Studio
from tests.conftest import paint

JSON = {"Content-Type": "application/json"}


def test_every_call_takes_both_slashes(client: TestClient, studio: Studio) -> None:
    generation = paint(studio)
    for path in ("/api/generate", f"/api/generate/{generation.id}", "/api/models", "/api/health"):
        plain = client.get(path, follow_redirects=False)
        slashed = client.get(f"{path}/", follow_redirects=False)
        assert plain.status_code == slashed.status_code == 200
    for path in ("/api/generate/image", "/api/generate/image/"):
        answer = client.post(path, json={"prompt": "a boat"}, follow_redirects=False)
        assert answer.status_code == 202


def test_a_body_that_says_it_is_too_large(client: TestClient) -> None:
    answer = client.post("/api/generate/image", content=b" " * (MAX_JSON + 1), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_body_that_does_not_say_how_large_it_is(client: TestClient) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * (MAX_JSON // 10)

    answer = client.post("/api/generate/image", content=pieces(), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("root_path", "headers", "base"),
    [
        ("", {}, "http://testserver"),
        ("", {"Host": "pc:7860"}, "http://pc:7860"),
        ("", {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "me.test, in"}, "https://me.test"),
        ("/flux", {}, "http://testserver/flux"),
        ("https://flux.test/ui/", {"Host": "inside"}, "https://flux.test/ui"),
    ],
)
def test_urls_open_from_where_the_caller_stands(
    studio: Studio, root_path: str, headers: dict[str, str], base: str
) -> None:
    studio.settings = studio.settings.model_copy(update={"root_path": root_path})
    generation = paint(studio)
    client = TestClient(Gate(build_api(studio), None, None))
    told = client.get(f"/api/generate/{generation.id}", headers=headers).json()
    assert told["output_paths"] == [f"{base}/api/images/{generation.id}/1"]
