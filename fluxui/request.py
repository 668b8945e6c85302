"""What is asked for: one picture request, as a door hands it in and as it is kept.

`GenerationForm` is the loose one: only the prompt is required, and it holds for every base model.
`GenerationRequest` is the frozen one: complete, within the base model's `Limits`, seed drawn.
Neither knows whether a LoRA exists; `Studio` looks that up.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from fluxui.errors import InvalidRequest

MAX_PROMPT = 2000
MAX_LORAS = 4
MAX_IMAGES = 4
MAX_SEED = 2**64 - 1
MAX_WEIGHT = 2.0
DEFAULT_WEIGHT = 0.8

Prompt = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_PROMPT)
]
ModelId = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Weight = Annotated[float, Field(ge=0, le=MAX_WEIGHT, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
ImageCount = Annotated[int, Field(ge=1, le=MAX_IMAGES)]


class LoraRef(BaseModel):
    """One LoRA of a request, by the name that people type."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_id: ModelId
    weight: Weight = DEFAULT_WEIGHT


class Limits(BaseModel):
    """What one base model can do, and what it does when nothing is said. Sizes in pixels."""

    model_config = ConfigDict(frozen=True)

    size_step: int
    min_size: int
    max_size: int
    max_pixels: int
    max_steps: int
    max_guidance: float
    width: int
    height: int
    steps: int
    guidance: float


class GenerationRequest(BaseModel):
    """A complete request. Two equal ones paint the same bytes on the same machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Prompt
    loras: tuple[LoraRef, ...] = ()
    num_images: ImageCount
    num_inference_steps: int
    guidance_scale: float
    width: int
    height: int
    seed: Seed

    def seeds(self) -> list[int]:
        """The seed of each image: image k of a batch equals that seed run alone."""
        return [(self.seed + k) % (MAX_SEED + 1) for k in range(self.num_images)]


class GenerationForm(BaseModel):
    """What a door hands in. `model_id` with `lora_weight` is short for one entry of `loras`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    prompt: Prompt
    model_id: str | None = Field(default=None, max_length=200)
    lora_weight: Weight = DEFAULT_WEIGHT
    loras: tuple[LoraRef, ...] = Field(default=(), max_length=MAX_LORAS)
    num_images: ImageCount = 1
    num_inference_steps: int | None = None
    guidance_scale: Annotated[float, Field(allow_inf_nan=False)] | None = None
    width: int | None = None
    height: int | None = None
    seed: Seed | None = None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> GenerationForm:
        """Check plain values. Raises InvalidRequest, naming every field that is wrong."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise invalid_request(error.errors(include_url=False)) from None

    def admit(self, limits: Limits, draw: Callable[[], int] | None = None) -> GenerationRequest:
        """Fill what was left out from `limits`, and refuse what is beyond them."""
        request = GenerationRequest(
            prompt=self.prompt,
            loras=self._chosen(),
            num_images=self.num_images,
            num_inference_steps=_either(self.num_inference_steps, limits.steps),
            guidance_scale=_either(self.guidance_scale, limits.guidance),
            width=_either(self.width, limits.width),
            height=_either(self.height, limits.height),
            seed=_either(self.seed, (draw or random_seed)()),
        )
        if complaints := list(_complaints(request, limits)):
            raise InvalidRequest(" ".join(complaints))
        return request

    def _chosen(self) -> tuple[LoraRef, ...]:
        if not self.model_id or self.model_id.strip() in ("", "None"):
            return self.loras
        if self.loras:
            raise InvalidRequest("Give either model_id or loras, not both.")
        return (LoraRef(model_id=self.model_id, weight=self.lora_weight),)


def random_seed() -> int:
    """32 bits: enough to never meet twice, short enough to read out."""
    return secrets.randbelow(2**32)


def invalid_request(errors: Iterable[Mapping[str, Any]]) -> InvalidRequest:
    """One sentence for each of pydantic's errors, without echoing the values."""
    sentences = []
    for error in errors:
        path = [str(part) for part in error["loc"] if part != "body"]
        sentences.append(_sentence(".".join(path) or "The body", error))
    return InvalidRequest(" ".join(sentences))


def _sentence(field: str, error: Mapping[str, Any]) -> str:
    kind = error["type"]
    if kind == "missing":
        return f"{field} is missing."
    if kind == "extra_forbidden":
        return f"{field} is not a known field."
    if kind == "string_too_short":
        return f"{field} is empty."
    if kind == "string_too_long":
        return f"{field} is longer than {error['ctx']['max_length']} characters."
    if kind == "too_long":
        return f"{field} has more than {error['ctx']['max_length']} entries."
    if kind in ("model_attributes_type", "model_type"):
        return f"{field} should be a JSON object."
    if kind == "json_invalid":
        return "The body is not valid JSON."
    return f"{field} {error['msg'][:1].lower()}{error['msg'][1:]}.".replace(
        " input should", " should"
    )


def _either(value: Any, default: Any) -> Any:
    return default if value is None else value


def _complaints(request: GenerationRequest, limits: Limits) -> Iterable[str]:
    if not 1 <= request.num_inference_steps <= limits.max_steps:
        yield f"num_inference_steps should be between 1 and {limits.max_steps}."
    if not 0 <= request.guidance_scale <= limits.max_guidance:
        yield f"guidance_scale should be between 0 and {limits.max_guidance:g}."
    for name, value in (("width", request.width), ("height", request.height)):
        if value % limits.size_step or not limits.min_size <= value <= limits.max_size:
            yield (
                f"{name} should be a multiple of {limits.size_step} "
                f"between {limits.min_size} and {limits.max_size}."
            )
    if request.width * request.height > limits.max_pixels:
        yield f"width x height should be at most {limits.max_pixels:,} pixels."
    names = [lora.model_id for lora in request.loras]
    if len(set(names)) < len(names):
        yield "Each LoRA can be used once."
