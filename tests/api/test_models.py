from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from fluxui.api import build_api
from fluxui.gate import Gate
from fluxui.studio import Studio
from tests.loras.fake_hub import COMMIT, serving_hub


def upload(client: TestClient, data: bytes, file_name: str = "dog.safetensors", **form: str) -> Any:
    return client.post("/api/models/", files={"file": (file_name, data)}, data=form)


def imported(client: TestClient) -> list[str]:
    """The ids of those that did not come with fluxui."""
    models = client.get("/api/models/").json()
    return [model["model_id"] for model in models if not model["built_in"]]


def test_import_show_change_delete(client: TestClient, lora_bytes: bytes) -> None:
    answer = upload(client, lora_bytes, model_id="me/dog", name="Dog", trigger_words="a, b ,")
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert answer.headers["location"] == "http://testserver/api/models/me/dog"
    assert (told["model_id"], told["name"], told["trigger_words"]) == ("me/dog", "Dog", ["a", "b"])
    assert told["fit"]["fits"]
    assert told["fit"]["left_out"] == []
    assert told["size"] == len(lora_bytes)
    assert client.get("/api/models/me/dog").json() == told
    assert imported(client) == ["me/dog"]

    change = {"name": "Rex", "trigger_words": ["rex"], "default_weight": 1.2, "notes": "good"}
    changed = client.patch("/api/models/me/dog", json=change).json()
    assert {name: changed[name] for name in change} == change
    assert client.patch("/api/models/me/dog", json={}).json() == changed

    gone = client.delete("/api/models/me/dog").json()
    assert gone == {"model_id": "me/dog", "deleted": True, "images": 0}
    assert client.get("/api/models/me/dog").status_code == 404


def test_the_name_of_the_file_is_never_a_path(client: TestClient, lora_bytes: bytes) -> None:
    for name in ("../../evil.safetensors", "..\\evil.safetensors", "/etc/evil.safetensors"):
        answer = upload(client, lora_bytes, file_name=name)
        assert answer.status_code == 201, answer.text
        assert answer.json()["model_id"].startswith("evil")


@pytest.mark.parametrize("name", ["x.ckpt", "x.SAFETENSORS.pt", "", "..", "x\x00.safetensors"])
def test_only_safetensors_are_opened(client: TestClient, name: str) -> None:
    answer = upload(client, b"\x80\x04 a pickle", file_name=name or "none")
    assert answer.status_code == 422
    assert imported(client) == []


def test_a_file_that_only_looks_right(client: TestClient) -> None:
    answer = upload(client, b"not one at all")
    assert (answer.status_code, answer.json()["code"]) == (422, "lora_unreadable")


def test_a_lora_of_another_family(client: TestClient, stranger_bytes: bytes) -> None:
    answer = upload(client, stranger_bytes)
    assert (answer.status_code, answer.json()["code"]) == (422, "lora_misfit")
    assert imported(client) == []


def test_a_file_is_needed(client: TestClient) -> None:
    answer = client.post("/api/models/", data={"name": "x"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_more_than_the_limit_is_refused(studio: Studio) -> None:
    studio.settings = studio.settings.model_copy(update={"max_upload_mib": 1})
    client = TestClient(Gate(build_api(studio), None, None))
    answer = upload(client, b" " * 2**20)  # and what a form needs besides
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert imported(client) == []
    assert upload(client, b" " * 2**19).json()["code"] == "lora_unreadable"


@pytest.mark.parametrize(
    "change",
    [
        {"default_weight": 3},
        {"name": ""},
        {"name": "x" * 300},
        {"trigger_words": ["x"] * 30},
        {"sha256": "0" * 64},
    ],
)
def test_a_bad_change_is_refused(
    client: TestClient, lora_bytes: bytes, change: dict[str, Any]
) -> None:
    before = upload(client, lora_bytes).json()
    answer = client.patch("/api/models/dog", json=change)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert client.get("/api/models/dog").json() == before


@pytest.mark.parametrize("model_id", ["nobody/none", "..%2f..%2fhistory.json", "%2e%2e", "ü"])
@pytest.mark.parametrize("method", ["GET", "DELETE", "PATCH"])
def test_an_unknown_model_is_404(client: TestClient, model_id: str, method: str) -> None:
    body = {"json": {"name": "x"}} if method == "PATCH" else {}
    answer = client.request(method, f"/api/models/{model_id}", **body)
    assert (answer.status_code, answer.json()["code"]) in (
        (404, "lora_not_found"),
        (404, "not_found"),
    )


def test_preview(client: TestClient, studio: Studio, lora_bytes: bytes) -> None:
    url = upload(client, lora_bytes, model_id="me/dog").json()["preview"]
    assert client.get(url).status_code == 404
    (studio.settings.data_dir / "models" / "me" / "dog" / "preview.webp").write_bytes(b"RIFF")
    upload(client, lora_bytes, model_id="me/cat")  # a change, so that the list is read again
    answer = client.get(url)
    assert (answer.content, answer.headers["content-type"]) == (b"RIFF", "image/webp")


def test_import_from_the_hub_and_from_the_bucket(
    client: TestClient, studio: Studio, lora_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving_hub(monkeypatch) as hub:
        hub.files["name.safetensors"] = lora_bytes
        said = {"repo_id": "owner/name", "model_id": "me/cat", "trigger_words": ["cat"]}
        answer = client.post("/api/models/", json=said)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["model_id"], told["trigger_words"]) == ("me/cat", ["cat"])
    assert told["origin"]["revision"] == COMMIT
    folder = studio.settings.data_dir / "runs"
    folder.mkdir()
    (folder / "step 100.safetensors").write_bytes(lora_bytes)
    answer = client.post("/api/models/", json={"key": "runs/step 100.safetensors"})
    assert answer.status_code == 201, answer.text
    assert answer.json()["origin"] == {"key": "runs/step 100.safetensors"}
    assert imported(client) == ["me/cat", "step-100"]


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        ({}, 422, "either repo_id or key"),
        ({"repo_id": "a/b", "key": "c"}, 422, "either repo_id or key"),
        ({"repo_id": "http://10.0.0.1/x"}, 422, "not the name of a repository"),
        ({"repo_id": "a/b", "url": "http://10.0.0.1"}, 422, "url"),
        ({"key": "runs/x.bin"}, 422, "should end in .safetensors"),
        ({"key": "../../etc/x.safetensors"}, 404, "nothing under '../../etc/x.safetensors'"),
        ({"key": "runs/none.safetensors"}, 404, "holds nothing"),
        ({"key": "models/me/dog/dog.safetensors"}, 422, "is in the library already, as me/dog"),
    ],
)
def test_what_can_not_be_imported(
    client: TestClient, lora_bytes: bytes, said: dict[str, str], status: int, words: str
) -> None:
    upload(client, lora_bytes, model_id="me/dog")
    answer = client.post("/api/models/", json=said)
    assert (answer.status_code, imported(client)) == (status, ["me/dog"])
    assert words in answer.json()["message"]


def test_json_is_small(client: TestClient) -> None:
    answer = client.post("/api/models/", json={"key": "x" * 2**20})
    assert answer.json()["code"] == "too_large"


def test_deleting_is_undone(client: TestClient, lora_bytes: bytes) -> None:
    told = upload(client, lora_bytes, model_id="me/dog").json()
    client.delete("/api/models/me/dog")
    assert client.post("/api/models/me/dog/restore").json()["sha256"] == told["sha256"]
    assert client.post("/api/models/me/dog/restore").json()["code"] == "conflict"
    assert client.post("/api/models/me/cat/restore").json()["code"] == "lora_not_found"
