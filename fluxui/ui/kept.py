"""What is typed into the form, kept in the browser, and read again after a reload.

It never passes the server on its way there. What comes back is a stranger's: it is checked, cut to
what the base model can do now, and only for the visitor who typed it. It knows no Gradio.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from fluxui.request import (
    DEFAULT_WEIGHT,
    MAX_IMAGES,
    MAX_LORAS,
    MAX_PROMPT,
    MAX_WEIGHT,
    GenerationRequest,
    Limits,
)
from fluxui.visitor import Visitor

FIELDS = ("prompt", "loras", "num", "seed", "steps", "guidance", "width", "height")
MAX_SEED_LETTERS = 20
# In the browser: (whose, *the inputs of the form) → what is kept. The rest of the values are the
# weights. Nothing is written before the page knows whose it is.
KEEP = (
    "(whose, ...values) => whose ? Object.fromEntries("
    f"[['whose', whose], ...{json.dumps(FIELDS)}.map((name, n) => [name, values[n]]),"
    f" ['weights', values.slice({len(FIELDS)})]]) : {{__type__: 'update'}}"
)


@dataclass(frozen=True)
class Entries:
    """What the form holds, with LoRAs as id → weight; `seed` as typed, "" for a random one."""

    prompt: str
    loras: dict[str, float]
    num: int
    seed: str
    steps: int
    guidance: float
    width: int
    height: int

    @classmethod
    def of(cls, request: GenerationRequest) -> Entries:
        return cls(
            prompt=request.prompt,
            loras={ref.model_id: ref.weight for ref in request.loras},
            num=request.num_images,
            seed=str(request.seed),
            steps=request.num_inference_steps,
            guidance=request.guidance_scale,
            width=request.width,
            height=request.height,
        )


def whose(visitor: Visitor) -> str:
    """What the browser writes beside it: two visitors of one browser never meet."""
    return hashlib.sha256(f"form\n{visitor.owner}\n{visitor.id}".encode()).hexdigest()[:16]


def recall(told: Any, limits: Limits, fitting: Collection[str]) -> tuple[Entries, list[str]]:
    """The entries, and in words what had to change: beyond `limits`, or a LoRA not `fitting`.

    What is no value at all becomes the default.
    """
    told = told if isinstance(told, dict) else {}
    loras = _loras(told)
    kept = {name: weight for name, weight in loras.items() if name in fitting}
    was = (_whole(told.get("width"), limits.width), _whole(told.get("height"), limits.height))
    width, height = _size(*was, limits)
    steps = _whole(told.get("steps"), limits.steps)
    guidance = _number(told.get("guidance"), limits.guidance)
    entries = Entries(
        prompt=_words(told.get("prompt"), MAX_PROMPT),
        loras=kept,
        num=_within(_whole(told.get("num"), 1), 1, MAX_IMAGES),
        seed=_words(told.get("seed"), MAX_SEED_LETTERS),
        steps=_within(steps, 1, limits.max_steps),
        guidance=_within(guidance, 0.0, limits.max_guidance),
        width=width,
        height=height,
    )
    changed = [f"without {name}, which is not here" for name in loras if name not in kept]
    if entries.steps != steps:
        changed.append(f"{entries.steps} steps, not {steps}")
    if entries.guidance != guidance:
        changed.append(f"guidance {entries.guidance:g}, not {guidance:g}")
    if (width, height) != was:
        changed.append(f"{width} × {height}, not {was[0]} × {was[1]}")
    return entries, changed


def _loras(told: dict[str, Any]) -> dict[str, float]:
    names, weights = told.get("loras"), told.get("weights")
    names = names if isinstance(names, list) else []
    weights = weights if isinstance(weights, list) else []
    weights += [DEFAULT_WEIGHT] * (MAX_LORAS - len(weights))
    return {
        name[:200]: _within(_number(weight, DEFAULT_WEIGHT), 0.0, MAX_WEIGHT)
        for name, weight in zip(names[:MAX_LORAS], weights, strict=False)
        if isinstance(name, str) and name
    }


def _size(width: int, height: int, limits: Limits) -> tuple[int, int]:
    """The nearest size that the base model paints; too many pixels keep their shape."""
    shrink = min(1.0, math.sqrt(limits.max_pixels / max(width * height, 1)))

    def fit(side: int) -> int:
        within: int = _within(math.floor(side * shrink), limits.min_size, limits.max_size)
        return within // limits.size_step * limits.size_step

    return fit(width), fit(height)


def _words(value: Any, longest: int) -> str:
    return value[:longest] if isinstance(value, str) else ""


def _number(value: Any, default: float) -> float:
    """Radios tell their numbers as text. No boolean and no infinity."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return default
    try:
        number = float(value)
    except ValueError:
        return default
    return number if math.isfinite(number) and abs(number) < 1e9 else default


def _whole(value: Any, default: int) -> int:
    return round(_number(value, default))


def _within(value: Any, least: Any, most: Any) -> Any:
    return min(max(value, least), most)
