"""How long a request will take here: medians of what this machine painted before.

It knows no clock and no queue. Before the first picture of a base model there is no answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from fluxui.generation import Generation, Status
from fluxui.history import Catalogue, Query
from fluxui.request import GenerationRequest


@dataclass(frozen=True)
class Pace:
    """The newest pictures of one base model, and what follows from them."""

    painted: list[Generation]

    def seconds(self, request: GenerationRequest) -> float | None:
        """For all images of `request`, by the pictures most like it; None if there is none."""
        alike = [one for one in self.painted if _shape(one.request) == _shape(request)]
        rates = [_rate(generation) for generation in alike or self.painted]
        return median(rates) * _effort(request) if rates else None


def pace(base_model: str, history: Catalogue) -> Pace:
    newest = history.page(Query(status=Status.completed)).generations
    return Pace([one for one in newest if one.base_model == base_model and one.seconds])


def _rate(generation: Generation) -> float:
    return (generation.seconds or 0.0) / _effort(generation.request)


def _shape(request: GenerationRequest) -> tuple[int, int, int, int]:
    return request.width, request.height, request.num_inference_steps, len(request.loras)


def _effort(request: GenerationRequest) -> int:
    """Pixel steps: what the time is about proportional to."""
    return request.width * request.height * request.num_inference_steps * request.num_images
