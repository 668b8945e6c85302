"""A pipeline that paints at once without torch, and a studio around it. All else is real."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fluxui.generation import Generation
from fluxui.history.tiny import TinyHistory
from fluxui.opening import assemble
from fluxui.pipeline import Adapter, Painting, Step
from fluxui.pipeline.base_models import choose_base_model
from fluxui.request import GenerationForm
from fluxui.settings import Settings
from fluxui.storage.local import LocalStorage
from fluxui.studio import Studio


class FakePipeline:
    """Flat colours, by a hash of everything that matters. `gate` holds it between two steps;
    with `measures` it says how long it really took."""

    def __init__(self, settings: Settings) -> None:
        self.base_model = choose_base_model(settings)
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.step_seconds = 0.0
        self.measures = False
        self.painted: list[str] = []
        self.loaded = 0

    def load(self) -> None:
        self.loaded += 1

    def describe(self) -> dict[str, Any]:
        return {"device": "none"} if self.loaded else {}

    def paint(
        self,
        prompt: str,
        *,
        width: int,
        height: int,
        steps: int,
        guidance: float,
        seed: int,
        adapters: Sequence[Adapter],
        on_step: Callable[[Step], None],
    ) -> Painting:
        began = time.monotonic()
        for step in range(1, steps + 1):
            self.gate.wait(timeout=30)
            if self.error:
                raise self.error
            time.sleep(self.step_seconds)
            on_step(Step(step, steps, None))
        self.painted.append(prompt)
        loras = [(adapter.sha256, adapter.weight) for adapter in adapters]
        told = repr((prompt, width, height, steps, guidance, seed, loras))
        colour = hashlib.sha256(told.encode()).digest()[:3]
        layers = tuple(1 for _ in adapters)
        seconds = time.monotonic() - began if self.measures else 0.01
        return Painting(colour * (width * height), width, height, layers, seconds=seconds)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a machine with nothing: no bucket, no token, no GPU. Nothing is painted that
    nobody asked for."""
    monkeypatch.chdir(tmp_path)  # no .env of the developer's
    for name in ("S3_BUCKET_NAME", "HF_TOKEN", "FLUXUI_AUTH", "FLUXUI_API_KEY", "SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    return Settings(data_dir=tmp_path / "fluxui", base_model="tiny", lora_previews=False)


@pytest.fixture
def pipeline(settings: Settings) -> FakePipeline:
    return FakePipeline(settings)


@pytest.fixture
def studio(settings: Settings, pipeline: FakePipeline) -> Iterator[Studio]:
    studio = make_studio(settings, pipeline)
    yield studio
    pipeline.gate.set()
    studio.close()


@pytest.fixture
def storage(settings: Settings) -> LocalStorage:
    """Where the studio keeps its pictures."""
    return LocalStorage(settings.data_dir)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[TinyHistory]:
    """Another history than the studio's, which knows nothing yet."""
    opened = TinyHistory(tmp_path / "fresh.json")
    yield opened
    opened.close()


def make_studio(settings: Settings, pipeline: FakePipeline) -> Studio:
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    storage = LocalStorage(settings.data_dir)
    return assemble(settings, pipeline, storage, TinyHistory(settings.data_dir / "history.json"))


def wait(studio: Studio, job_id: str, seconds: float = 30) -> Generation:
    """The generation once it has ended."""
    until = time.monotonic() + seconds
    while not (generation := studio.get(job_id)).status.ended:
        assert time.monotonic() < until, f"{job_id} is still {generation.status.value}"
        time.sleep(0.01)
    return generation


def paint(studio: Studio, prompt: str = "a red house by the sea", **values: Any) -> Generation:
    """Submit and wait."""
    form = GenerationForm.parse({"prompt": prompt, "num_inference_steps": 2, **values})
    return wait(studio, studio.submit(form).id)
