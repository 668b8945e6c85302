"""What guidance and LoRAs are taught: where a sampling goes, on the shipped model."""

from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline

from tinyflux import album, loras
from tinyflux.guidance import STRONGEST, Crowd
from tinyflux.styles import LESSONS

MODEL = Path(__file__).parents[2] / "fluxui" / "assets" / "tiny-flux"


@pytest.fixture
def pipe() -> FluxPipeline:
    pipe = FluxPipeline.from_pretrained(MODEL).to(torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def crowd(steps: int) -> Crowd:
    """One at each of its steps, the last of them finished."""
    count = steps + 1
    rest = {name: torch.zeros(count, 1, 1) for name in ("text", "pooled")}
    return Crowd(
        noisy=torch.zeros(count, 4, 64),
        weight=torch.full((count,), STRONGEST),
        steps=torch.full((count,), steps),
        step=torch.arange(count),
        **rest,
    )


@pytest.mark.parametrize("steps", [4, 8, 20])
def test_a_crowd_goes_where_the_pipelines_sampler_goes(pipe: FluxPipeline, steps: int) -> None:
    told = torch.linspace(1, 1 / steps, steps).tolist()
    pipe.scheduler.set_timesteps(sigmas=told)
    assert torch.allclose(crowd(steps).sigma(), pipe.scheduler.sigmas)
    moved = crowd(steps)._replace(step=torch.zeros(steps + 1, dtype=torch.int64))
    after = moved.after(torch.ones(steps + 1, 4, 64))
    assert torch.allclose(after.noisy, pipe.scheduler.sigmas[1] - pipe.scheduler.sigmas[0])


def test_guidance_comes_in_after_the_first_step_of_eight() -> None:
    strength = crowd(8).strength()
    assert strength[0] == 1 and (strength[1:] > STRONGEST - 0.1).all()


@pytest.mark.parametrize("name", LESSONS)
def test_a_step_of_a_lora(pipe: FluxPipeline, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loras, "TOKENS", 700)  # two pictures at a time
    lessons = loras.Lessons(pipe, name, album.scene_list(2, album.TRAINING))
    stage = loras.Adapting(pipe, name, lessons)
    before = stage.adapter()
    loss = stage.loss(0)
    loss.backward()
    assert torch.isfinite(loss)
    learnt = {key for key, part in pipe.transformer.named_parameters() if part.grad is not None}
    assert len(learnt) == len(before) and all("lora_" in key for key in learnt)
