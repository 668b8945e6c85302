from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from fluxui.errors import GenerationNotFound
from fluxui.generation import Status
from fluxui.request import MAX_PROMPT
from fluxui.studio import Moment, Studio
from fluxui.watch import Get
from tests.conftest import FakePipeline, paint, wait
from tests.lora_files import write

QUEUED = {"status": Status.queued}
PROMPT = {"prompt": "a red boat", "num_inference_steps": 3}


def test_a_request_is_accepted_painted_and_opens(client: TestClient, studio: Studio) -> None:
    answer = client.post("/api/generate/image", json={**PROMPT, "num_images": 2, "seed": 7})
    assert answer.status_code == 202
    accepted = answer.json()
    assert accepted["status"] == "queued"
    assert answer.headers["location"] == f"http://testserver/api/generate/{accepted['id']}"
    wait(studio, accepted["id"])

    done = client.get(f"/api/generate/{accepted['id']}").json()
    assert (done["status"], done["progress"], done["error"]) == ("completed", 1.0, None)
    assert done["prompt"] == "a red boat"
    assert done["completed_at"] > done["created_at"]
    assert len(done["output_paths"]) == 2
    for url in done["output_paths"]:
        assert client.get(url).content.startswith(b"\x89PNG")


def test_parameters_are_complete(client: TestClient) -> None:
    told = client.post("/api/generate/image", json={"prompt": "a boat"}).json()["parameters"]
    assert set(told) == {
        *("model_id", "lora_weight", "loras", "num_images", "num_inference_steps"),
        *("guidance_scale", "width", "height", "seed", "base_model"),
    }
    assert None not in [told["seed"], told["width"], told["num_inference_steps"]]


def test_the_request_of_users_scripts(
    client: TestClient, studio: Studio, lora_bytes: bytes, tmp_path: Path
) -> None:
    studio.collection.add(write(tmp_path, lora_bytes), model_id="me/dog")
    body = {
        "prompt": "a dog",
        "model_id": "me/dog",
        "lora_weight": 0.7,
        "num_images": 1,
        "num_inference_steps": 2,
        "guidance_scale": 3.5,
    }
    told = client.post("/api/generate/image", json=body).json()
    assert told["parameters"]["model_id"] == "me/dog"
    assert told["parameters"]["lora_weight"] == 0.7
    assert wait(studio, told["id"]).status.value == "completed"
    assert client.get(f"/api/generate/{told['id']}").json()["loras"][0]["layers"] == 1


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "prompt"),
        ({"prompt": "   "}, "prompt"),
        ({"prompt": "x" * (MAX_PROMPT + 1)}, "prompt"),
        ({"prompt": "a\ud800"}, "prompt"),
        ({**PROMPT, "width": 100}, "width"),
        ({**PROMPT, "height": 16000}, "height"),
        ({**PROMPT, "width": -16}, "width"),
        ({**PROMPT, "num_inference_steps": 0}, "num_inference_steps"),
        ({**PROMPT, "num_inference_steps": -1}, "num_inference_steps"),
        ({**PROMPT, "num_inference_steps": 10_000}, "num_inference_steps"),
        ({**PROMPT, "num_inference_steps": 2.5}, "num_inference_steps"),
        ({**PROMPT, "guidance_scale": -1}, "guidance_scale"),
        ({**PROMPT, "guidance_scale": float("inf")}, "guidance_scale"),
        ({**PROMPT, "lora_weight": float("nan")}, "lora_weight"),
        ({**PROMPT, "lora_weight": 2.01}, "lora_weight"),
        ({**PROMPT, "loras": [{"model_id": "x", "weight": -0.1}]}, "weight"),
        ({**PROMPT, "num_images": 5}, "num_images"),
        ({**PROMPT, "num_images": 0}, "num_images"),
        ({**PROMPT, "seed": 2**64}, "seed"),
        ({**PROMPT, "seed": -1}, "seed"),
        ({**PROMPT, "steps": 4}, "steps"),
        ([], "body"),
        ("a prompt", "body"),
        (None, "body"),
    ],
)
def test_a_bad_value_is_named_and_nothing_is_queued(
    client: TestClient, studio: Studio, body: Any, named: str
) -> None:
    answer = client.post(
        "/api/generate/image",
        content=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert_refused(answer, 422, "invalid_request")
    assert named in answer.json()["message"]
    assert studio.pictures.page().total == 0


@pytest.mark.parametrize("content", [b"", b"hello", b'{"prompt": "a', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_no_json(client: TestClient, content: bytes) -> None:
    for kind in ({}, {"Content-Type": "application/json"}):
        assert_refused(
            client.post("/api/generate/image", content=content, headers=kind),
            422,
            "invalid_request",
        )


def test_an_unknown_lora_is_404(client: TestClient, studio: Studio) -> None:
    answer = client.post("/api/generate/image", json={**PROMPT, "model_id": "nobody/none"})
    assert_refused(answer, 404, "lora_not_found")
    assert studio.pictures.page().total == 0


def test_a_lora_of_another_base_family_is_refused(
    client: TestClient, studio: Studio, stranger_bytes: bytes
) -> None:
    folder = studio.settings.data_dir / "models" / "sdxl"
    folder.mkdir(parents=True)
    write(folder, stranger_bytes)
    answer = client.post("/api/generate/image", json={**PROMPT, "model_id": "sdxl"})
    assert_refused(answer, 422, "lora_misfit")
    assert studio.pictures.page().total == 0


def test_the_same_key_is_one_job(client: TestClient, studio: Studio) -> None:
    key = {"Idempotency-Key": "once"}
    first = client.post("/api/generate/image", json=PROMPT, headers=key)
    again = client.post("/api/generate/image", json=PROMPT, headers=key)
    assert first.json()["id"] == again.json()["id"]
    other = client.post("/api/generate/image", json={"prompt": "a cat"}, headers=key)
    assert_refused(other, 409, "idempotency_conflict")
    assert studio.pictures.page().total == 1
    long = client.post("/api/generate/image", json=PROMPT, headers={"Idempotency-Key": "x" * 201})
    assert_refused(long, 422, "invalid_request")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("job_id", ["nope", "..%2f..%2fetc", "%00", "ü", "a" * 5000])
def test_an_unknown_job_is_404(client: TestClient, method: str, job_id: str) -> None:
    answer = client.request(method, f"/api/generate/{job_id}")
    assert answer.status_code == 404
    assert set(answer.json()) == {"code", "message", "hint"}


def test_a_full_queue_says_when_to_come_back(
    client: TestClient, pipeline: FakePipeline, studio: Studio
) -> None:
    pipeline.gate.clear()
    answers = [client.post("/api/generate/image", json=PROMPT) for _ in range(70)]
    refused = [answer for answer in answers if answer.status_code != 202]
    assert refused
    assert_refused(refused[0], 429, "queue_full")
    assert int(refused[0].headers["retry-after"]) > 0
    assert studio.pictures.page().total == len(answers) - len(refused)
    for generation in studio.jobs()[1:]:
        studio.cancel(generation.id)


def test_the_list_is_newest_first_and_continues(client: TestClient, studio: Studio) -> None:
    ids = [paint(studio, f"boat number {number}").id for number in range(5)]
    first = client.get("/api/generate/", params={"limit": 3}).json()
    rest = client.get("/api/generate/", params={"limit": 3, "cursor": first["cursor"]}).json()
    listed = [one["id"] for one in first["generations"] + rest["generations"]]
    assert listed == ids[::-1]
    assert (first["total"], rest["cursor"]) == (5, "")
    found = client.get("/api/generate/", params={"q": "number 3"}).json()
    assert [one["id"] for one in found["generations"]] == [ids[3]]
    assert client.get("/api/generate/", params={"status": "failed"}).json()["total"] == 0


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1000}, {"status": "lost"}])
def test_a_bad_query_is_refused(client: TestClient, query: dict[str, Any]) -> None:
    assert_refused(client.get("/api/generate/", params=query), 422, "invalid_request")


def test_delete_removes_it(client: TestClient, studio: Studio) -> None:
    generation = paint(studio)
    answer = client.delete(f"/api/generate/{generation.id}")
    assert answer.json() == {"id": generation.id, "deleted": True}
    assert client.get(f"/api/generate/{generation.id}").status_code == 404
    assert client.get(f"/api/images/{generation.id}/1").status_code == 404


def test_cancel_says_what_happened(
    client: TestClient, studio: Studio, pipeline: FakePipeline
) -> None:
    pipeline.step_seconds = 0.05
    body = {**PROMPT, "num_inference_steps": 100}
    running, waiting = (client.post("/api/generate/image", json=body).json()["id"] for _ in "12")
    dequeued = client.post(f"/api/generate/{waiting}/cancel").json()
    assert (dequeued["outcome"], dequeued["step"]) == ("dequeued", None)
    while not (progress := studio.progress(running)) or progress.step < 1:
        pass
    stopped = client.post(f"/api/generate/{running}/cancel").json()
    assert stopped["outcome"] == "stopped"
    assert 1 <= stopped["step"] < 100
    assert stopped["generation"]["status"] == "cancelled"
    again = client.post(f"/api/generate/{running}/cancel")
    assert_refused(again, 409, "illegal_transition")


def test_retry_is_a_new_generation(
    client: TestClient, studio: Studio, pipeline: FakePipeline
) -> None:
    pipeline.error = RuntimeError("it broke")
    failed = paint(studio)
    told = client.get(f"/api/generate/{failed.id}").json()
    assert told["status"] == "failed"
    assert set(told["error"]) == {"code", "message", "hint"}
    assert "it broke" not in json.dumps(told)
    pipeline.error = None
    answer = client.post(f"/api/generate/{failed.id}/retry")
    assert answer.status_code == 202
    assert answer.json()["id"] != failed.id
    assert answer.json()["parameters"] == told["parameters"]
    assert wait(studio, answer.json()["id"]).status.value == "completed"
    assert_refused(
        client.post(f"/api/generate/{answer.json()['id']}/retry"), 409, "illegal_transition"
    )


def test_progress_while_it_runs(client: TestClient, studio: Studio, pipeline: FakePipeline) -> None:
    pipeline.step_seconds = 0.02
    body = {**PROMPT, "num_inference_steps": 50}
    job_id = client.post("/api/generate/image", json=body).json()["id"]
    while (told := client.get(f"/api/generate/{job_id}").json())["progress"] == 0:
        assert told["status"] in ("queued", "running")
    assert told["stage"]["phase"] == "painting"
    assert told["stage"]["steps"] == 50
    assert 0 < told["progress"] < 1
    studio.cancel(job_id)


def test_events_end_with_the_pictures(
    client: TestClient, studio: Studio, pipeline: FakePipeline
) -> None:
    pipeline.step_seconds = 0.2
    job_id = client.post("/api/generate/image", json=PROMPT).json()["id"]
    answer = client.get(f"/api/generate/{job_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = read_events(answer.text)
    assert [event["event"] for event in events][-1] == "end"
    assert {event["event"] for event in events[:-1]} == {"progress"}
    assert [int(event["id"]) for event in events] == list(range(1, len(events) + 1))
    assert any(event["data"]["stage"]["step"] for event in events[:-1])
    assert events[-1]["data"]["output_paths"]


def test_events_go_on_after_a_lost_connection(client: TestClient, studio: Studio) -> None:
    generation = paint(studio)
    url = f"/api/generate/{generation.id}/events"
    (event,) = read_events(client.get(url, headers={"Last-Event-ID": "41"}).text)
    assert (event["id"], event["event"]) == ("42", "end")
    (event,) = read_events(client.get(url, headers={"Last-Event-ID": "no number"}).text)
    assert event["data"]["status"] == "completed"


def test_events_of_one_that_is_deleted_meanwhile(
    client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = paint(studio)

    async def watch(job_id: str, get: Get) -> AsyncIterator[Moment]:
        yield replace(studio.moment(job_id), generation=generation.model_copy(update=QUEUED))
        raise GenerationNotFound(job_id)

    monkeypatch.setattr(studio._watch, "moments", watch)
    events = read_events(client.get(f"/api/generate/{generation.id}/events").text)
    assert [event["event"] for event in events] == ["progress", "deleted"]
    assert events[-1]["data"]["code"] == "generation_not_found"


def test_events_of_an_unknown_job_are_404(client: TestClient) -> None:
    assert_refused(client.get("/api/generate/nope/events"), 404, "generation_not_found")


def read_events(text: str) -> list[dict[str, Any]]:
    """Server-sent events as dicts, the data parsed."""
    events = []
    for block in text.strip().split("\n\n"):
        event: dict[str, Any] = dict(line.split(": ", 1) for line in block.splitlines())
        events.append(event | {"data": json.loads(event["data"])})
    return events


def assert_refused(answer: Any, status: int, code: str) -> None:
    """Refused in the one shape, in a sentence, with nothing of the inside."""
    told = answer.json()
    assert (answer.status_code, told["code"]) == (status, code), told
    assert set(told) == {"code", "message", "hint"}
    assert told["message"].endswith(".")
    assert "Traceback" not in answer.text


def test_ones_own_queue_can_be_paused_and_put_in_order(client: TestClient) -> None:
    assert client.post("/api/queue/pause").json() == {"paused": True}
    ids = [client.post("/api/generate/image", json=PROMPT).json()["id"] for _ in range(3)]
    moved = client.post(f"/api/generate/{ids[2]}/move_up").json()
    assert (moved["id"], moved["stage"]["ahead"], moved["stage"]["paused"]) == (ids[2], 0, True)
    assert client.get(f"/api/generate/{ids[0]}").json()["stage"]["ahead"] == 1
    assert client.post("/api/queue/resume").json() == {"paused": False}
    read_events(client.get(f"/api/generate/{ids[1]}/events").text)
    shown = [client.get(f"/api/generate/{job_id}").json() for job_id in ids]
    assert shown[2]["started_at"] < shown[0]["started_at"] < shown[1]["started_at"]
    late = client.post(f"/api/generate/{ids[2]}/move_up")
    assert (late.status_code, late.json()["code"]) == (409, "illegal_transition")


def test_stars_and_tags(client: TestClient, studio: Studio) -> None:
    made = paint(studio, num_images=3)
    url = f"/api/generate/{made.id}"
    answer = client.patch(url, json={"favourites": [1, 3], "tags": ["Sea", "sea"]})
    assert (answer.json()["favourites"], answer.json()["tags"]) == ([1, 3], ["Sea"])
    assert client.patch(url, json={"tags": []}).json()["favourites"] == [1, 3]
    assert client.get("/api/generate/?favourite=1").json()["images"] == 2
    assert client.patch(url, json={"favourites": [4]}).status_code == 404
    for body in ({"favourites": [0]}, {"tags": ["x" * 41]}, {"stars": [1]}):
        assert client.patch(url, json=body).status_code == 422
    assert client.patch("/api/generate/nothing", json={}).status_code == 404


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("width=128&height=128", ["small"]),
        ("seed=7", ["small"]),
        ("base_model=tiny&order=oldest", ["small", "large"]),
        ("since=2020-01-01&until=2020-01-02T00:00:00Z", []),
        ("since=2020-01-01T00:00:00", ["large", "small"]),
        ("tag=sea", ["large"]),
        ("lora=abc", []),
        ("visitor=", ["large", "small"]),
        ("visitor=somebody", []),
    ],
)
def test_filters(client: TestClient, studio: Studio, query: str, found: list[str]) -> None:
    paint(studio, "small", width=128, height=128, seed=7)
    studio.pictures.tag(paint(studio, "large", width=256, height=128, seed=8).id, ["Sea"])
    answer = client.get(f"/api/generate/?{query}").json()
    assert [one["prompt"] for one in answer["generations"]] == found


@pytest.mark.parametrize("query", ["lora=XYZ", "seed=-1", "since=yesterday", "order=up"])
def test_a_filter_that_can_not_be_is_refused(client: TestClient, query: str) -> None:
    assert client.get(f"/api/generate/?{query}").status_code == 422
