"""One refusal, one sentence: what can't be is said in the same words at every door, and nothing
that was accepted is hurt by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from html import unescape
from typing import Any

import gradio as gr
import pytest
from fastapi.testclient import TestClient

from fluxui import cli
from fluxui.api import build_api
from fluxui.errors import OutOfMemory
from fluxui.gate import Gate
from fluxui.generation import Status
from fluxui.history import Query
from fluxui.request import GenerationForm
from fluxui.settings import Settings
from fluxui.studio import Studio
from fluxui.ui.acts import Acts
from fluxui.ui.desk import Desk
from fluxui.ui.endpoints import Endpoints
from fluxui.visitor import OWNER
from tests.conftest import FakePipeline, paint, wait
from tests.faults.test_disk import full, read_only, until

# Each door asks for a picture, cancels an id and looks at an id in its own way, and gives what it
# was told: "ok", or the refusal.


class Rest:
    """The status, the code and the sentence."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    def _ask(self, method: str, path: str, **more: Any) -> str:
        answer = self._client.request(method, path, **more)
        told = answer.json()
        if answer.is_success:
            return "ok"
        assert (answer.status_code == 429) == ("retry-after" in answer.headers)
        return f"{answer.status_code} {told['code']} {told['message']}"

    def submit(self, prompt: str, key: str = "") -> str:
        headers = {"Idempotency-Key": key} if key else {}
        return self._ask("POST", "/api/generate/image", json={"prompt": prompt}, headers=headers)

    def cancel(self, job_id: str) -> str:
        return self._ask("POST", f"/api/generate/{job_id}/cancel")

    def look(self, job_id: str) -> str:
        return self._ask("GET", f"/api/generate/{job_id}")


class Gradio:
    """The title of the error and its sentence, as `gradio_client` gets it."""

    def __init__(self, studio: Studio) -> None:
        self._door = Endpoints(studio)

    def _ask(self, call: Callable[[], object]) -> str:
        try:
            call()
        except gr.Error as error:
            return f"{error.title} {error.message}"
        return "ok"

    def submit(self, prompt: str, key: str = "") -> str:
        return self._ask(lambda: self._door.submit_generation(prompt, idempotency_key=key))

    def cancel(self, job_id: str) -> str:
        return self._ask(lambda: self._door.cancel_generation(job_id))

    def look(self, job_id: str) -> str:
        return self._ask(lambda: self._door.get_generation(job_id))


class Waiting(Gradio):
    """`/generate_image`, which waits. It is asked only for what is refused."""

    def submit(self, prompt: str, key: str = "") -> str:
        call = self._door.generate_image(prompt, idempotency_key=key)
        return self._ask(lambda: asyncio.run(call))


class Page:
    """The notice on the stage."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        nothing: Any = None
        self._acts = Acts(studio, nothing, nothing, lambda desk: {})

    def _ask(self, call: Callable[[], object]) -> str:
        desk = Desk()
        self._acts.guard(desk, lambda: call() and {} or {})
        return unescape(desk.notice) or "ok"

    def submit(self, prompt: str, key: str = "") -> str:
        return self._ask(lambda: self._studio.submit(GenerationForm(prompt=prompt), key))

    def cancel(self, job_id: str) -> str:
        return self._ask(lambda: self._studio.cancel(job_id))

    def look(self, job_id: str) -> str:
        return self._ask(lambda: self._studio.get(job_id))


class Cli:
    """What it prints to stderr, and an exit code that is not 0. It has no cancel and no key."""

    def __init__(
        self, studio: Studio, patch: pytest.MonkeyPatch, output: pytest.CaptureFixture[str]
    ) -> None:
        view = studio.serving(lambda: OWNER)
        patch.setattr(view, "close", lambda: None)
        patch.setattr(cli, "open_studio", lambda settings: view)
        self._output = output

    def _ask(self, *arguments: str) -> str:
        self._output.readouterr()
        code = cli.main(arguments)
        said = self._output.readouterr().err
        assert (code == 0) == (said == "") and said.count("\n") <= 1
        return said or "ok"

    def submit(self, prompt: str, key: str = "") -> str:
        return self._ask("generate", prompt)

    def look(self, job_id: str) -> str:
        return self._ask("history", "show", job_id)


DOORS = ("rest", "gradio", "waiting", "page", "cli")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"queue_size": 3})


@pytest.fixture
def door(
    request: pytest.FixtureRequest,
    studio: Studio,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Any]:
    with TestClient(Gate(build_api(studio), None, None)) as client:
        made: dict[str, Callable[[], Any]] = {
            "rest": lambda: Rest(client),
            "gradio": lambda: Gradio(studio),
            "waiting": lambda: Waiting(studio),
            "page": lambda: Page(studio),
            "cli": lambda: Cli(studio, monkeypatch, capsys),
        }
        yield made[request.param]()


def at(*names: str) -> Any:
    return pytest.mark.parametrize("door", names, indirect=True)


@at("rest", "gradio", "page", "cli")
@pytest.mark.parametrize("job_id", ["nope", "0a1b2c3d-0000-4000-8000-000000000000"])
def test_an_unknown_id_is_never_done(door: Any, job_id: str) -> None:
    said = door.look(job_id)
    assert f"There is no generation '{job_id}'." in said
    assert not isinstance(door, Rest) or said.startswith("404 generation_not_found")
    if not isinstance(door, Cli):
        assert door.cancel(job_id) == said


@at("rest", "gradio", "page")
@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
def test_cancel_of_an_ended_one_says_how_it_ended(
    door: Any, state: str, studio: Studio, pipeline: FakePipeline
) -> None:
    pipeline.error = OutOfMemory("Out of memory.") if state == "failed" else None
    if state == "cancelled":
        pipeline.gate.clear()
        studio.submit(GenerationForm(prompt="first"))
        ended = studio.cancel(studio.submit(GenerationForm(prompt="second")).id)
    else:
        ended = paint(studio)
    assert ended.status.value == state
    said = door.cancel(ended.id)
    words = "It was cancelled before." if state == "cancelled" else f"it is already {state}."
    assert words in said
    assert not isinstance(door, Rest) or said.startswith("409 illegal_transition")
    assert studio.get(ended.id) == ended


@at("rest", "gradio", "waiting")
def test_one_key_is_for_one_request(door: Any, studio: Studio) -> None:
    assert door.submit("a boat", "once") == door.submit("a boat", "once") == "ok"
    said = door.submit("a house", "once")
    assert "This Idempotency-Key was used for another request." in said
    assert not isinstance(door, Rest) or said.startswith("409 idempotency_conflict")
    assert "200 characters" in door.submit("a boat", "x" * 201)
    assert studio.pictures.page().total == 1


@at(*DOORS)
def test_a_full_queue(door: Any, studio: Studio, pipeline: FakePipeline) -> None:
    pipeline.gate.clear()
    accepted = fill(studio)
    said = door.submit("one too many")
    assert "The queue is full (3)." in said
    assert not isinstance(door, Rest) or said.startswith("429 queue_full")
    assert_all_ends_well(studio, pipeline, accepted)
    assert door.submit("one more") == "ok"


@at(*DOORS)
def test_a_full_disk(door: Any, studio: Studio, settings: Settings, pipeline: FakePipeline) -> None:
    refused_while(door, studio, pipeline, full(settings), "507 storage_full", "The disk is full")


@at(*DOORS)
def test_a_read_only_disk(
    door: Any,
    studio: Studio,
    settings: Settings,
    pipeline: FakePipeline,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trouble = read_only(monkeypatch, settings.data_dir)
    refused_while(door, studio, pipeline, trouble, "503 history_read_only", "ead-only")


def refused_while(
    door: Any,
    studio: Studio,
    pipeline: FakePipeline,
    trouble: AbstractContextManager[None],
    code: str,
    words: str,
) -> None:
    """Nothing is accepted, nothing waiting is cancelled, and it recovers by itself."""
    pipeline.gate.clear()
    accepted = fill(studio, 2)
    with trouble:
        said = [door.submit("one too many")]
        if not isinstance(door, Cli):
            said.append(door.cancel(accepted[1]))
        for told in said:
            assert words in told
            assert not isinstance(door, Rest) or told.startswith(code)
        assert [one.id for one in studio.jobs()] == accepted
    assert_all_ends_well(studio, pipeline, accepted)
    assert door.submit("one more") == "ok"


def fill(studio: Studio, count: int = 4) -> list[str]:
    """One that runs, and others that wait."""
    first = studio.submit(GenerationForm(prompt="picture 0")).id
    until(lambda: studio.get(first).status is Status.running)
    forms = [GenerationForm(prompt=f"picture {number}") for number in range(1, count)]
    return [first, *(studio.submit(form).id for form in forms)]


def assert_all_ends_well(studio: Studio, pipeline: FakePipeline, accepted: list[str]) -> None:
    assert studio.pictures.page(Query()).total == len(accepted)
    pipeline.gate.set()
    assert {wait(studio, job_id).status for job_id in accepted} == {Status.completed}
