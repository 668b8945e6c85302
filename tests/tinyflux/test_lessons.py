"""What guidance and LoRAs are taught: where a sampling goes, on the shipped model."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from PIL import ImageChops

from tinyflux import album, loras
from tinyflux.captions import Caption
from tinyflux.guidance import STRONGEST, Crowd
from tinyflux.painting import PATCH, THING, counts
from tinyflux.scenes import Scene, picture
from tinyflux.steadying import Steadying, climbed, strange
from tinyflux.styles import LESSONS
from tinyflux.things import THINGS

MODEL = Path(__file__).parents[2] / "fluxui" / "assets" / "tiny-flux"


@pytest.fixture
def pipe() -> FluxPipeline:
    pipe = FluxPipeline.from_pretrained(MODEL).to(torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize("size", [(256, 256), (320, 208), (208, 320)])
@pytest.mark.parametrize("thing", THINGS)
def test_tokens_of_things_count_more(thing: str, size: tuple[int, int]) -> None:
    scene = Scene("day", "sea", thing, "red", count=2, seed=5)
    bare = picture(scene, *size, dict.fromkeys(THINGS, lambda *_: None))
    changed = np.asarray(ImageChops.difference(picture(scene, *size), bare)).any(axis=2)
    rows, columns = size[1] // PATCH, size[0] // PATCH
    tokens = changed.reshape(rows, PATCH, columns, PATCH).any(axis=(1, 3))
    counted = counts(scene, Caption("", frozenset({"thing", "count"})), size).view(rows, columns)
    assert (counted.numpy()[tokens] == THING).all()
    assert (counted == 1).float().mean() > 0.4


def test_a_thing_counts_no_more_where_no_word_tells_of_it() -> None:
    scene = Scene("day", "sea", "boat", "red", "left", count=1)
    assert (counts(scene, Caption("the sea", frozenset({"land"})), (256, 256)) == 1).all()


def crowd(steps: int) -> Crowd:
    """One at each of its steps, the last of them finished."""
    count = steps + 1
    read = ("text", "pooled", "called_text", "called_pooled")
    rest = {name: torch.zeros(count, 1, 1) for name in read}
    return Crowd(
        noisy=torch.zeros(count, 4, 64),
        counts=torch.ones(count, 4),
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


def test_guidance_comes_in_during_the_first_steps_of_eight() -> None:
    first, second, *rest = crowd(8).strength().tolist()
    assert first == 1 < second < STRONGEST and rest == [STRONGEST] * 7


def test_a_step_of_steadying_teaches_what_is_made_of_the_whole_prompt(pipe: FluxPipeline) -> None:
    stage = Steadying(pipe, number=40)
    assert stage.heard.shape == (40, 128) and not stage.targets.requires_grad
    stage.loss(0).backward()
    learnt = [name for name, part in pipe.transformer.named_parameters() if part.grad is not None]
    assert learnt and all("time_text_embed.text_embedder" in name for name in learnt)
    pipe.transformer.zero_grad()


def test_louder_places_are_looked_for_on_the_sphere_alone() -> None:
    places = torch.randn(8, 128, generator=torch.Generator().manual_seed(0))
    heights = torch.linspace(-1, 1, 128)
    found = climbed(lambda each: each @ heights, places, steps=20, stride=0.3)
    assert torch.allclose(found.norm(dim=1), torch.full((8,), 128**0.5), rtol=1e-3)
    highest = 128**0.5 * heights.norm()
    assert (places @ heights < 0.5 * highest).all() and (found @ heights > 0.95 * highest).all()


def test_what_is_too_loud_anywhere_costs(pipe: FluxPipeline) -> None:
    """No prompt that is asked has to be too loud itself for that."""
    stage = Steadying(pipe, number=40)
    torch.manual_seed(0)
    quiet = stage.loss(0).item()
    stage.loudest = stage.loudest / 10
    torch.manual_seed(0)
    assert stage.loss(0).item() > quiet + 1


def test_strange_words_come_before_or_behind_a_prompt() -> None:
    heard = [strange("a red boat", Random(lot)) for lot in range(50)]
    assert {text.startswith("a red boat, ") for text in heard} == {True, False}
    assert all(text.startswith("a red boat, ") or text.endswith(", a red boat") for text in heard)
    assert len(set(heard)) > 40


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
