"""The embedded model itself, loaded once for all tests of the pipeline, and LoRAs for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fluxui.pipeline import Adapter, Painting, Step
from fluxui.pipeline.base_models import choose_base_model
from fluxui.pipeline.flux import FluxPipeline
from fluxui.settings import Settings
from tests.loras.conftest import lora_file

__all__ = ["lora_file"]


@dataclass
class Easel:
    """The loaded pipeline, and a short way to paint a small quick picture with it."""

    pipeline: FluxPipeline

    @property
    def pipe(self) -> Any:
        """What diffusers has of it."""
        return self.pipeline._ready.pipe

    def paint(
        self,
        adapters: Sequence[Adapter] = (),
        seed: int = 7,
        steps: int = 2,
        prompt: str = "a red boat on the sea at sunset",
        width: int = 64,
        height: int = 64,
    ) -> Painting:
        return self.pipeline.paint(
            prompt,
            width=width,
            height=height,
            steps=steps,
            guidance=3.5,
            seed=seed,
            adapters=adapters,
            on_step=ignore,
        )


def ignore(step: Step) -> None:
    """A watcher who looks away."""


def make_pipeline(data_dir: Path) -> FluxPipeline:
    settings = Settings(data_dir=data_dir, base_model="tiny")
    return FluxPipeline(choose_base_model(settings), settings)


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> FluxPipeline:
    pipeline = make_pipeline(tmp_path_factory.mktemp("pipeline"))
    pipeline.load()
    return pipeline


@pytest.fixture
def easel(loaded: FluxPipeline) -> Iterator[Easel]:
    yield Easel(loaded)


def lora(
    targets: Mapping[str, tuple[int, ...]],
    name: str = "one",
    weight: float = 0.8,
    rank: int = 4,
    size: float = 0.2,
) -> Adapter:
    """A LoRA of random numbers for these layers; one name is always one LoRA."""

    def load() -> dict[str, tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(sum(name.encode()))
        return {
            layer: (
                torch.randn(rows, rank, generator=generator) * size,
                torch.randn(rank, columns, generator=generator) * size,
            )
            for layer, (rows, columns) in targets.items()
        }

    return Adapter(sha256=name, weight=weight, load=load)
