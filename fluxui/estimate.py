"""How long a request will take here: medians of what this machine painted before.

It knows no clock and no queue. Before the first picture of a base model there is no answer.
"""

from __future__ import annotations

from statistics import median

from fluxui.generation import Generation, Status
from fluxui.history import History, Query
from fluxui.request import GenerationRequest


def seconds(request: GenerationRequest, base_model: str, history: History) -> float | None:
    """Seconds for all images of `request`, by the newest pictures most like it."""
    painted = [
        generation
        for generation in history.page(Query(status=Status.completed)).generations
        if generation.base_model == base_model and generation.seconds
    ]
    alike = [one for one in painted if _shape(one.request) == _shape(request)]
    rates = [_rate(generation) for generation in alike or painted]
    return median(rates) * _effort(request) if rates else None


def _rate(generation: Generation) -> float:
    return (generation.seconds or 0.0) / _effort(generation.request)


def _shape(request: GenerationRequest) -> tuple[int, int, int, int]:
    return request.width, request.height, request.num_inference_steps, len(request.loras)


def _effort(request: GenerationRequest) -> int:
    """Pixel steps: what the time is about proportional to."""
    return request.width * request.height * request.num_inference_steps * request.num_images
