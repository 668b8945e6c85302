"""Two visitors and the owner on one server, through real HTTP: what is another's is not there."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from gradio_client import Client
from pydantic import SecretStr

from fluxui.gate import VISITOR_COOKIE
from fluxui.server import App
from fluxui.settings import Settings
from tests.conftest import wait
from tests.live import serving

ONE = "/api/generate/{job_id}"
# Every route with the id of a generation; what a stranger to it gets is what a wrong id gets.
CALLS = [
    ("GET", ONE),
    ("PATCH", ONE),
    ("GET", f"{ONE}/events"),
    ("GET", "/api/images/{job_id}/1"),
    ("GET", "/api/images/{job_id}/1?thumb=1"),
    ("GET", "/api/images/{job_id}/1?download=1"),
    ("POST", f"{ONE}/cancel"),
    ("POST", f"{ONE}/retry"),
    ("POST", f"{ONE}/move_up"),
    ("DELETE", ONE),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The owner ann, and bob and carl, who are not."""
    settings = Settings(
        data_dir=tmp_path_factory.mktemp("fluxui"),
        base_model="tiny",
        auth=SecretStr("ann:a,bob:b,carl:c"),
    )
    with serving(settings) as app:
        yield app


@pytest.fixture(scope="module")
def open_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """No login on a public address: whoever comes gets a cookie."""
    folder = tmp_path_factory.mktemp("fluxui")
    settings = Settings(data_dir=folder, base_model="tiny", insecure=True, host="0.0.0.0")
    with serving(settings) as app:
        yield app


def visiting(app: App, name: str = "", **more: Any) -> httpx.Client:
    url = f"http://127.0.0.1:{app.settings.port}"
    auth = (name, name[0]) if name else None
    return httpx.Client(base_url=url, auth=auth, timeout=30, **more)


def painted(app: App, client: httpx.Client, prompt: str = "a secret plan") -> str:
    asked = {"prompt": prompt, "num_inference_steps": 1}
    answer = client.post("/api/generate/image", json=asked)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    wait(app.studio, job_id)
    return job_id


def without_ids(answer: httpx.Response, job_id: str) -> tuple[int, str]:
    return answer.status_code, answer.text.replace(job_id, "ID")


def test_every_call_with_an_id_is_in_the_table(shared: App) -> None:
    calls = {
        (method.upper(), path.replace("{index}", "1"))
        for path, methods in shared.api.openapi()["paths"].items()
        for method in methods
        if "{job_id}" in path
    }
    assert calls <= {(method, path.partition("?")[0]) for method, path in CALLS}


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_anothers_is_as_unknown_as_what_never_was(shared: App, method: str, path: str) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"
    with visiting(shared, "bob") as bob, visiting(shared, "carl") as carl:
        job_id = painted(shared, bob)
        foreign = carl.request(method, path.format(job_id=job_id))
        missing = carl.request(method, path.format(job_id=unknown))
        assert foreign.status_code == 404 and foreign.json()["code"] == "generation_not_found"
        assert without_ids(foreign, job_id) == without_ids(missing, unknown)
        assert bob.get(f"/api/generate/{job_id}").json()["status"] == "completed"


@pytest.mark.parametrize(("method", "path"), CALLS)
@pytest.mark.parametrize("name", ["ann", "bob"])
def test_ones_own_and_the_owners_all(shared: App, name: str, method: str, path: str) -> None:
    with visiting(shared, "bob") as bob, visiting(shared, name) as client:
        job_id = painted(shared, bob)
        answer = client.request(method, path.format(job_id=job_id))
        too_late = path.endswith(("cancel", "retry", "move_up"))  # it is completed
        assert answer.status_code == (409 if too_late else 200)


def test_lists_and_totals_are_ones_own(shared: App) -> None:
    with visiting(shared, "bob") as bob, visiting(shared, "carl") as carl:
        job_id = painted(shared, bob, "a secret xylophone")
        for query in ("", "?q=xylophone", "?status=completed&limit=200"):
            mine = bob.get(f"/api/generate/{query}").json()
            theirs = carl.get(f"/api/generate/{query}").json()
            assert job_id in json.dumps(mine) and mine["total"] > 0
            assert (theirs["total"], theirs["images"], theirs["generations"]) == (0, 0, [])
    with visiting(shared, "ann") as ann:
        found = ann.get("/api/generate/?q=xylophone").json()["generations"]
        assert [one["id"] for one in found] == [job_id]


def test_a_zip_has_ones_own_alone(shared: App) -> None:
    with visiting(shared, "bob") as bob, visiting(shared, "carl") as carl:
        chosen = {"pictures": f"{painted(shared, bob, 'a secret zither')}/1"}
        for answer in (carl.get("/api/images.zip"), carl.post("/api/images.zip", data=chosen)):
            assert "history.jsonl" in names_in(answer) and b"zither" not in answer.content
        assert len(names_in(bob.get("/api/images.zip?q=zither"))) == 2
        assert len(names_in(bob.post("/api/images.zip", data=chosen))) == 2


def names_in(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200
    return zipfile.ZipFile(io.BytesIO(answer.content)).namelist()


def test_one_idempotency_key_of_two_visitors_makes_two(shared: App) -> None:
    asked = {"prompt": "a boat", "num_inference_steps": 1}
    ids = []
    for name in ("bob", "carl", "bob"):
        with visiting(shared, name, headers={"Idempotency-Key": "one"}) as client:
            ids.append(client.post("/api/generate/image", json=asked).json()["id"])
    assert ids[0] == ids[2] != ids[1]


def test_only_the_owner_changes_loras(shared: App) -> None:
    path = "/api/models/pixel-art"
    with visiting(shared, "bob") as bob:
        assert bob.get(path).status_code == 200
        for answer in (bob.patch(path, json={"name": "x"}), bob.delete(path)):
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    with visiting(shared, "ann") as ann:
        assert ann.get(path).json()["name"] != "x"


def test_gradio_endpoints_keep_visitors_apart(shared: App) -> None:
    url = f"http://127.0.0.1:{shared.settings.port}"
    bob = Client(url, verbose=False, headers=login("bob"))
    carl = Client(url, verbose=False, headers=login("carl"))
    asked = {"prompt": "a secret lighthouse", "num_inference_steps": 1}
    files, record = bob.predict(**asked, api_name="/generate_image")
    assert len(files) == 1 and "visitor" not in record
    assert bob.predict(q="lighthouse", api_name="/list_generations")["total"] == 1
    assert carl.predict(q="lighthouse", api_name="/list_generations")["total"] == 0
    for call in ("get_generation", "cancel_generation", "delete_generation"):
        with pytest.raises(Exception, match="There is no generation"):
            carl.predict(job_id=record["id"], api_name=f"/{call}")
    with pytest.raises(Exception, match="Only the owner"):
        carl.predict(model_id="pixel-art", api_name="/delete_model")
    assert bob.predict(job_id=record["id"], api_name="/get_generation")["id"] == record["id"]
    for client in (bob, carl):
        client.close()


def login(name: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{name[0]}'.encode()).decode()}"}


# Without a login


def test_a_cookie_makes_a_visitor(open_house: App) -> None:
    with visiting(open_house) as one, visiting(open_house) as other, visiting(open_house) as third:
        told = one.get("/api/health").headers["set-cookie"]
        assert "HttpOnly" in told and "SameSite=Lax" in told and "Secure" not in told
        job_id = painted(open_house, one)
        assert "set-cookie" not in one.get("/").headers
        assert one.get(f"/api/generate/{job_id}").status_code == 200
        for method, path in CALLS:
            answer = other.request(method, path.format(job_id=job_id))
            assert answer.status_code == 404, (method, path)
        third.headers["Cookie"] = f"{VISITOR_COOKIE}={one.cookies[VISITOR_COOKIE]}"
        assert third.get(f"/api/generate/{job_id}").status_code == 200


def test_a_forged_cookie_is_none(open_house: App) -> None:
    with visiting(open_house) as one:
        job_id = painted(open_house, one)
        value, _, signature = one.cookies[VISITOR_COOKIE].partition(".")
    for forged in (value, f"{value}.", f"{value}.{signature[:-1]}", f".{signature}", "guest:", ""):
        with visiting(open_house, headers={"Cookie": f"{VISITOR_COOKIE}={forged}"}) as other:
            answer = other.get(f"/api/generate/{job_id}")
            assert answer.status_code == 404 and "set-cookie" in answer.headers
            assert other.get("/api/generate/").json()["total"] == 0


def test_a_cookie_outlives_a_restart_and_https_keeps_it_secure(settings: Settings) -> None:
    public = settings.model_copy(update={"insecure": True, "host": "0.0.0.0"})
    with serving(public) as app, visiting(app) as one:
        job_id = painted(app, one)
        cookie = one.cookies[VISITOR_COOKIE]
        proxied = httpx.get(str(one.base_url), headers={"X-Forwarded-Proto": "https"})
        assert "; Secure" in proxied.headers["set-cookie"]
    with (
        serving(public) as app,
        visiting(app, headers={"Cookie": f"fluxui_visitor={cookie}"}) as it,
    ):
        assert it.get(f"/api/generate/{job_id}").status_code == 200


def test_on_this_machine_there_is_one_owner_and_no_cookie(settings: Settings) -> None:
    with serving(settings) as app, visiting(app) as one, visiting(app) as other:
        job_id = painted(app, one)
        answer = other.get(f"/api/generate/{job_id}")
        assert answer.status_code == 200 and "set-cookie" not in answer.headers
        assert app.studio.get(job_id).visitor == ""


def test_limits_are_said_with_the_time_to_come_back(settings: Settings) -> None:
    limits = {"visitor_images_per_hour": 2, "auth": SecretStr("ann:a,bob:b,carl:c")}
    asked = {"prompt": "a boat", "num_inference_steps": 1, "num_images": 2}
    path = "/api/generate/image"
    with serving(settings, **limits) as app, visiting(app, "bob") as bob:
        keyed = {"Idempotency-Key": "one"}
        first = bob.post(path, json=asked, headers=keyed)
        assert first.status_code == 202
        again = bob.post(path, json=asked, headers=keyed)
        assert again.json()["id"] == first.json()["id"], "what is no new one costs nothing"
        refused = bob.post(path, json=asked)
        assert (refused.status_code, refused.json()["code"]) == (429, "limit_reached")
        assert 0 < int(refused.headers["retry-after"]) <= 3600
        assert bob.get("/api/generate/").json()["total"] == 1
        for name, count in (("carl", 1), ("ann", 3)):
            with visiting(app, name) as client:
                for _ in range(count):
                    assert client.post(path, json=asked).status_code == 202
