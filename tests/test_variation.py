from __future__ import annotations

from typing import Any

import pytest

from fluxui.request import GenerationRequest, Limits, LoraRef
from fluxui.variation import vary

LIMITS = Limits(
    size_step=16,
    min_size=64,
    max_size=512,
    max_pixels=512 * 384,
    max_steps=20,
    max_guidance=10,
    width=128,
    height=128,
    steps=12,
    guidance=3.5,
)


def request(**changes: Any) -> GenerationRequest:
    made = {
        "prompt": "a boat",
        "loras": (LoraRef(model_id="ink", weight=0.5), LoraRef(model_id="oil", weight=1.9)),
        "num_images": 1,
        "num_inference_steps": 12,
        "guidance_scale": 3.5,
        "width": 128,
        "height": 96,
        "seed": 7,
    }
    return GenerationRequest(**{**made, **changes})


def test_another_seed_and_nothing_else() -> None:
    varied = vary(request(), "seed", LIMITS)
    assert varied is not None and varied.seed != 7
    assert varied.model_copy(update={"seed": 7}) == request()


def test_weights_stay_in_their_bounds() -> None:
    def weights(how: str) -> list[float]:
        varied = vary(request(), how, LIMITS)
        assert varied is not None and varied.seed == 7
        return [ref.weight for ref in varied.loras]

    assert weights("stronger") == [0.7, 2.0] and weights("weaker") == [0.3, 1.7]
    assert vary(request(loras=()), "stronger", LIMITS) is None
    assert vary(request(loras=(LoraRef(model_id="ink", weight=0),)), "weaker", LIMITS) is None


@pytest.mark.parametrize(("steps", "more"), [(1, 2), (12, 18), (15, 20), (20, None)])
def test_more_steps_up_to_the_most(steps: int, more: int | None) -> None:
    varied = vary(request(num_inference_steps=steps), "steps", LIMITS)
    assert (varied and varied.num_inference_steps) == more


@pytest.mark.parametrize(
    ("size", "larger"),
    [((128, 96), (192, 144)), ((496, 304), None), ((512, 384), None), ((320, 320), (432, 432))],
)
def test_a_larger_size_is_one_that_can_be(
    size: tuple[int, int], larger: tuple[int, int] | None
) -> None:
    varied = vary(request(width=size[0], height=size[1]), "larger", LIMITS)
    assert (varied and (varied.width, varied.height)) == larger


def test_a_way_that_is_not_known_is_none() -> None:
    assert vary(request(), "<x>", LIMITS) is None
