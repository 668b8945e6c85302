from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from fluxui.studio import Studio
from tests.conftest import wait

FORM: dict[str, Any] = {
    "loras": ["pixel-art"],
    "prompts": ["a boat"],
    "weights": [0, 0.8],
    "num_inference_steps": 2,
}


def test_a_strip_from_asking_to_the_sheet(client: TestClient, studio: Studio) -> None:
    answer = client.post("/api/grids/", json=FORM)
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert answer.headers["location"] == f"http://testserver/api/grids/{told['id']}"
    assert (told["across"], told["rows"], told["columns"]) == (
        "weights",
        ["pixel-art"],
        ["0", "0.8"],
    )
    for cell in told["cells"][0]:
        wait(studio, cell["id"])
    told = client.get(f"/api/grids/{told['id']}").json()
    assert [cell["status"] for cell in told["cells"][0]] == ["completed"] * 2
    listed = client.get("/api/generate/", params={"tag": told["id"]}).json()
    assert listed["total"] == 2
    sheet = client.get(told["sheet"])
    assert sheet.headers["content-type"] == "image/png"
    assert sheet.headers["content-disposition"] == f'attachment; filename="{told["id"]}.png"'
    assert sheet.content.startswith(b"\x89PNG")
    assert client.post(f"/api/grids/{told['id']}/cancel").json() == told
    client.delete(f"/api/generate/{told['cells'][0][0]['id']}")
    assert client.get(f"/api/grids/{told['id']}").json()["columns"] == ["0.8"]


def test_what_is_no_grid_is_refused(client: TestClient) -> None:
    for values, status in (
        ({"weights": [3]}, 422),
        ({"weights": []}, 422),
        ({"loras": ["nobody"]}, 404),
        ({"width": 100}, 422),
    ):
        assert client.post("/api/grids/", json=FORM | values).status_code == status
    for call in ("strip-00000000", "strip", "grid", "..%2f"):
        assert client.get(f"/api/grids/{call}").status_code == 404
    assert client.get("/api/generate/").json()["total"] == 0
