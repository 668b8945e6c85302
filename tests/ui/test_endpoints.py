"""The Gradio endpoints, as `gradio_client` calls them on a server that runs."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from fluxui.generation import Status
from fluxui.server import App
from fluxui.settings import Settings
from tests.conftest import FakePipeline
from tests.live import serving

GOLDEN = Path(__file__).parents[1] / "golden" / "gradio.json"
pytestmark = pytest.mark.filterwarnings(
    "ignore:The copy keyword is deprecated"  # in Gradio's statistics
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("endpoints")
    with serving(Settings(data_dir=folder / "fluxui", base_model="tiny")) as app:
        yield app


@pytest.fixture
def client(app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(app.temp))
    with contextlib.closing(Client(app.url, verbose=False, download_files=tmp_path)) as client:
        yield client


def pipeline_of(app: App) -> FakePipeline:
    pipeline = app.studio._pipeline
    assert isinstance(pipeline, FakePipeline)
    return pipeline


def call(client: Client, name: str, **values: Any) -> Any:
    return client.predict(**values, api_name=f"/{name}")


def contract(client: Client) -> dict[str, Any]:
    """Names, arguments, defaults and types: what users' scripts rest on."""
    told = client.view_api(return_format="dict", print_info=False)
    return {
        name: {
            "parameters": {
                one["parameter_name"]: [one["python_type"]["type"], one["parameter_default"]]
                for one in endpoint["parameters"]
            },
            "returns": [one["python_type"]["type"] for one in endpoint["returns"]],
        }
        for name, endpoint in sorted(told["named_endpoints"].items())
    }


def test_names_and_arguments_are_those_that_scripts_use(client: Client) -> None:
    """Meant a change? Write the answer of `contract` into the golden file."""
    assert contract(client) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_generate_image_gives_files_and_the_record(client: Client, app: App) -> None:
    files, record = call(client, "generate_image", prompt="a boat", num_images=2, seed=2**64 - 1)
    kept = app.studio.get(record["id"])
    for index, file in enumerate(files, start=1):
        with app.studio.pictures.open(app.studio.pictures.image(kept.id, index)) as stream:
            assert Path(file).read_bytes() == stream.read()
    assert len(files) == 2
    assert record["request"]["seed"] == 2**64 - 1
    assert record["output_paths"] == [f"api/images/{kept.id}/{index}" for index in (1, 2)]
    assert record["status"] == "completed"
    assert "idempotency_key" not in record


def test_the_same_picture_twice_is_one_file_in_the_cache(client: Client, app: App) -> None:
    def cached() -> int:
        return sum(1 for _ in app.temp.rglob("*.png"))

    call(client, "generate_image", prompt="the same", seed=3)
    before = cached()
    call(client, "generate_image", prompt="another", seed=3)
    assert cached() == before + 1


def test_progress_reaches_the_client_and_cancel_stops_the_work(client: Client, app: App) -> None:
    pipeline_of(app).step_seconds = 0.05
    job = client.submit(prompt="slow", num_inference_steps=90, api_name="/generate_image")
    until = time.monotonic() + 20
    while not ((told := job.status().progress_data) and told[0].desc and "step" in told[0].desc):
        assert time.monotonic() < until
        time.sleep(0.05)
    job.cancel()
    generation = app.studio.pictures.page(limit=1).generations[0]
    assert generation.status is Status.cancelled
    assert 0 < (generation.stopped_at or 0) < 90
    pipeline_of(app).step_seconds = 0.0


def test_submit_get_list_cancel_delete(client: Client, app: App) -> None:
    pipeline_of(app).gate = threading.Event()
    queued = call(client, "submit_generation", prompt="one of a kind", num_inference_steps=4)
    assert queued["status"] in ("queued", "running")
    told = call(client, "get_generation", job_id=queued["id"])
    assert told["progress"]["phase"] in ("waiting", "loading", "painting")
    found = call(client, "list_generations", q="one of a kind")
    assert [one["id"] for one in found["generations"]] == [queued["id"]]
    assert found["total"] == 1
    pipeline_of(app).gate.set()
    until = time.monotonic() + 20
    while call(client, "get_generation", job_id=queued["id"])["status"] != "completed":
        assert time.monotonic() < until
        time.sleep(0.05)
    with pytest.raises(AppError, match="Too late"):
        call(client, "cancel_generation", job_id=queued["id"])
    assert call(client, "delete_generation", job_id=queued["id"])["deleted"]
    with pytest.raises(AppError, match="There is no generation"):
        call(client, "get_generation", job_id=queued["id"])


def test_models_are_told_with_their_fit(client: Client) -> None:
    models = call(client, "list_models")
    assert {one["model_id"] for one in models} >= {"pixel-art"}
    one = call(client, "get_model", model_id="pixel-art")
    assert one["fit"]["fits"]
    with pytest.raises(AppError, match="came with fluxui"):
        call(client, "delete_model", model_id="pixel-art")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"prompt": " "}, "prompt is empty"),
        ({"prompt": "x" * 2001}, "prompt"),
        ({"width": 100}, "width should be a multiple of 16"),
        ({"num_inference_steps": 0}, "num_inference_steps should be between 1"),
        ({"num_images": 5}, "num_images should be less than or equal to 4"),
        ({"seed": 2**64}, "seed should be less than or equal to"),
        ({"lora_weight": 2.5}, "lora_weight should be less than or equal to 2"),
        ({"model_id": "no-such-lora"}, "There is no LoRA 'no-such-lora'"),
        ({"loras": [{"model_id": "a"}] * 5}, "loras"),
    ],
)
@pytest.mark.parametrize("name", ["generate_image", "submit_generation"])
def test_a_bad_value_is_a_sentence_and_nothing_is_queued(
    client: Client, app: App, name: str, values: dict[str, Any], words: str
) -> None:
    before = app.studio.pictures.page().total
    with pytest.raises(AppError, match=words):
        call(client, name, **{"prompt": "a boat", **values})
    assert app.studio.pictures.page().total == before


def test_what_fails_while_painting_is_said(client: Client, app: App) -> None:
    pipeline_of(app).error = RuntimeError("the sky fell")
    with pytest.raises(AppError) as raised:
        call(client, "generate_image", prompt="a boat")
    assert "Traceback" not in str(raised.value)
    pipeline_of(app).error = None
