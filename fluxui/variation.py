"""One step away from a picture: another seed, other weights, more steps, a larger size.

Pure functions of a request and of what the base model can do. All but the first keep the seed, so
that what changes is what was asked to.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fluxui.request import MAX_WEIGHT, GenerationRequest, Limits, random_seed

WEIGHT_STEP = 0.2
MORE_STEPS = 1.5
LARGER = 1.5


def vary(request: GenerationRequest, how: str, limits: Limits) -> GenerationRequest | None:
    """None where there is nothing beyond, and for a way that is not known."""
    changed = WAYS[how](request, limits) if how in WAYS else None
    return changed if changed != request else None


def _seed(request: GenerationRequest, limits: Limits) -> GenerationRequest:
    return request.model_copy(update={"seed": random_seed()})


def _weight(step: float) -> Callable[[GenerationRequest, Limits], GenerationRequest]:
    def changed(request: GenerationRequest, limits: Limits) -> GenerationRequest:
        loras = tuple(
            ref.model_copy(
                update={"weight": min(max(round(ref.weight + step, 2), 0.0), MAX_WEIGHT)}
            )
            for ref in request.loras
        )
        return request.model_copy(update={"loras": loras})

    return changed


def _steps(request: GenerationRequest, limits: Limits) -> GenerationRequest:
    steps = min(math.ceil(request.num_inference_steps * MORE_STEPS), limits.max_steps)
    return request.model_copy(update={"num_inference_steps": steps})


def _larger(request: GenerationRequest, limits: Limits) -> GenerationRequest:
    """As much larger as both sides and the pixels allow, by whole steps of the size."""
    sides = request.width, request.height
    pixels = (limits.max_pixels / (sides[0] * sides[1])) ** 0.5
    factor = min(LARGER, pixels, limits.max_size / max(sides))
    width, height = (int(side * factor) // limits.size_step * limits.size_step for side in sides)
    if width <= sides[0] or height <= sides[1]:
        return request
    return request.model_copy(update={"width": width, "height": height})


WAYS: dict[str, Callable[[GenerationRequest, Limits], GenerationRequest]] = {
    "seed": _seed,
    "weaker": _weight(-WEIGHT_STEP),
    "stronger": _weight(WEIGHT_STEP),
    "steps": _steps,
    "larger": _larger,
}
