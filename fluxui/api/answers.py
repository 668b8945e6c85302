"""What REST answers, word for word: the shapes that `/docs` shows and users' scripts read.

They are made from generations and LoRAs, never the other way round. They know no HTTP beyond
the URLs that `Urls` makes.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from typing_extensions import Self

from fluxui.generation import Failure, Generation, LoraUse, Status
from fluxui.grid import Across
from fluxui.loras.library import Lora
from fluxui.queue import Progress
from fluxui.request import ImageCount, LoraRef, Weight, invalid_request
from fluxui.system import QueueFacts, System
from fluxui.watch import Moment

Words = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


class Answer(BaseModel):
    """The common ground: fields may be called `model_…`, as users' scripts expect."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())


@dataclass(frozen=True)
class Urls:
    """Absolute URLs that open from where the caller stands. `base` has no slash at its end."""

    base: str

    def generation(self, job_id: str) -> str:
        return f"{self.base}/api/generate/{job_id}"

    def image(self, job_id: str, index: int) -> str:
        return f"{self.base}/api/images/{job_id}/{index}"

    def grid(self, grid_id: str) -> str:
        return f"{self.base}/api/grids/{grid_id}"

    def model(self, model_id: str) -> str:
        return f"{self.base}/api/models/{model_id}"


class Problem(Answer):
    """Every answer that is no success. `code` is for programs, `hint` is the way out."""

    code: str
    message: str
    hint: str = ""


class Parameters(Answer):
    """The complete request. `model_id` and `lora_weight` are those of the first LoRA."""

    model_id: str | None
    lora_weight: float | None
    loras: tuple[LoraRef, ...]
    num_images: int
    num_inference_steps: int
    guidance_scale: float
    width: int
    height: int
    seed: int
    base_model: str

    @classmethod
    def of(cls, generation: Generation) -> Parameters:
        request = generation.request
        first = request.loras[0] if request.loras else None
        return cls(
            model_id=first.model_id if first else None,
            lora_weight=first.weight if first else None,
            base_model=generation.base_model,
            **request.model_dump(exclude={"prompt"}),
        )


class Stage(Answer):
    """Where the work stands. `ahead` generations come first; images and steps count from 1."""

    phase: str
    ahead: int
    image: int
    images: int
    step: int
    steps: int
    paused: bool = Field(description="Held back by its own visitor")
    obstacle: str = Field(description='What keeps it waiting, such as a full disk; else ""')
    seconds_left: float | None = Field(
        description="None before anything was measured here, and while it is paused"
    )

    @classmethod
    def of(cls, progress: Progress, seconds_left: float | None) -> Stage:
        return cls(
            phase=progress.phase.value,
            ahead=progress.ahead,
            image=progress.image,
            images=progress.images,
            step=progress.step,
            steps=progress.steps,
            paused=progress.paused,
            obstacle=progress.obstacle,
            seconds_left=None if seconds_left is None else round(seconds_left, 1),
        )


class GenerationAnswer(Answer):
    """One generation. `prompt` is as typed, `painted` has the trigger words."""

    id: str
    status: Status
    prompt: str
    painted: str
    parameters: Parameters
    loras: tuple[LoraUse, ...] = Field(description="As applied: `layers` of `layers_total`")
    output_paths: list[str] = Field(description="URLs that open, once it is completed")
    progress: float = Field(description="0 to 1, which it is once the pictures are there")
    stage: Stage | None = Field(description="Only while it waits or runs")
    error: Failure | None
    seconds: float | None = Field(description="Time spent painting")
    tags: tuple[str, ...]
    favourites: list[int] = Field(description="Which of its pictures have a star, from 1")
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None

    @classmethod
    def of(cls, moment: Moment, urls: Urls, **more: Any) -> Self:
        """Shown as it is at this moment; `more` are the fields of a subclass."""
        generation, progress = moment.generation, moment.progress
        completed = generation.status is Status.completed
        return cls(
            prompt=generation.request.prompt,
            parameters=Parameters.of(generation),
            output_paths=[urls.image(generation.id, image.index) for image in generation.images],
            progress=1.0 if completed else _unfinished(progress),
            favourites=[image.index for image in generation.images if image.favourite],
            stage=Stage.of(progress, moment.seconds_left) if progress else None,
            **{name: getattr(generation, name) for name in _KEPT},
            **more,
        )


def _unfinished(progress: Progress | None) -> float:
    return min(round(progress.fraction, 4), 0.99) if progress else 0.0


_KEPT = (
    *("id", "status", "painted", "loras", "error", "seconds", "tags"),
    *("created_at", "started_at", "completed_at"),
)


class GenerationEvent(GenerationAnswer):
    """What a watcher gets: the whole state each time, and the picture so far."""

    preview: str | None = Field(description="A small JPEG as a data: URL")

    @classmethod
    def at(cls, moment: Moment, urls: Urls) -> Self:
        jpeg = moment.progress.preview if moment.progress else None
        preview = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" if jpeg else None
        return cls.of(moment, urls, preview=preview)


class GenerationList(Answer):
    """A page, newest first. `cursor` continues after it, "" at the end; totals are of the query."""

    generations: list[GenerationAnswer]
    cursor: str
    total: int
    images: int


class GridAnswer(Answer):
    """LoRAs down (`rows`), weights, prompts or seeds across; a cell that was deleted is null."""

    id: str = Field(description="Also a tag of each cell")
    across: Across
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: list[list[GenerationAnswer | None]]
    sheet: str = Field(description="A URL: what is painted as one PNG with labels")


class Cancellation(Answer):
    """What a cancel did. `step` is the last step that was finished, None if it never began."""

    outcome: Literal["dequeued", "stopped", "stopping"]
    step: int | None
    message: str
    generation: GenerationAnswer

    @classmethod
    def of(cls, cancelled: Generation, answer: GenerationAnswer) -> Cancellation:
        step = cancelled.stopped_at
        obstacle = answer.stage.obstacle if answer.stage else ""
        if cancelled.status is not Status.cancelled and obstacle:
            outcome, message = "stopping", f"{obstacle} It ends as soon as that can be written."
        elif cancelled.status is not Status.cancelled:
            outcome, message = "stopping", "It stops after the step it is in."
        elif step is None:
            outcome, message = "dequeued", "It was taken out of the queue before it began."
        else:
            outcome, message = "stopped", f"It was stopped after step {step}."
        return cls.model_validate(
            {"outcome": outcome, "step": step, "message": message, "generation": answer}
        )


class Deleted(Answer):
    id: str
    deleted: Literal[True] = True


class QueuePause(Answer):
    """Whether one's own queue is held back."""

    paused: bool


class ModelDeleted(Answer):
    """`images` were painted with it, and stay."""

    model_id: str
    deleted: Literal[True] = True
    images: int


class FitAnswer(Answer):
    """What the file is, and whether this base model can use it: `verdict` is one sentence, and
    `left_out` the tensors that nothing here takes."""

    model_config = ConfigDict(from_attributes=True)

    format: str
    rank: int
    alpha: float | None
    base_family: str
    layers: int
    layers_total: int
    fits: bool
    verdict: str
    left_out: tuple[str, ...]


class ModelAnswer(Answer):
    """A LoRA. `size` in bytes; `built_in` ones came with fluxui; `sha256` is of its tensors,
    "" before it was read once. `training` is what the file says of how it was made, `origin` where
    it was imported from, and `seen` is false in a list that did not get round to the file yet."""

    model_id: str
    name: str
    trigger_words: tuple[str, ...]
    default_weight: float
    notes: str
    built_in: bool
    size: int
    sha256: str
    added: datetime
    fit: FitAnswer
    training: dict[str, str]
    seen: bool
    favourite: bool
    origin: dict[str, str]
    preview: str = Field(description="A URL; 404 there if it has no preview")

    @classmethod
    def of(cls, lora: Lora, urls: Urls) -> ModelAnswer:
        told = {name: getattr(lora, name) for name in _TOLD}
        preview = f"{urls.model(lora.model_id)}/preview"
        return cls(
            fit=FitAnswer.model_validate(lora.fit),
            training=dict(lora.training),
            origin=dict(lora.origin),
            preview=preview,
            **told,
        )


_TOLD = (
    *("model_id", "name", "trigger_words", "default_weight", "notes"),
    *("built_in", "size", "sha256", "added", "seen", "favourite"),
)


class GenerationChange(BaseModel):
    """What people put to it afterwards. What is left out stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tags: Annotated[tuple[Words, ...], Field(max_length=20)] | None = None
    favourites: Annotated[tuple[ImageCount, ...], Field(max_length=4)] | None = None


class ModelChange(BaseModel):
    """What people may write about a LoRA. What is left out stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[Words, StringConstraints(min_length=1)] | None = None
    trigger_words: Annotated[tuple[Words, ...], Field(max_length=20)] | None = None
    default_weight: Weight | None = None
    notes: Annotated[str, StringConstraints(max_length=5000)] | None = None
    favourite: bool | None = None


class ModelSource(BaseModel):
    """Where a LoRA comes from: `repo_id` on the Hub, with `filename` where it holds several and
    any `revision`, or `key` in the bucket."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repo_id: Words = ""
    filename: Annotated[str, StringConstraints(max_length=500)] = ""
    revision: Words = ""
    key: Annotated[str, StringConstraints(max_length=900)] = ""
    model_id: Words = ""
    name: Words = ""
    trigger_words: Annotated[tuple[Words, ...], Field(max_length=20)] = ()

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Raises InvalidRequest."""
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise invalid_request(error.errors()) from None


class QueueAnswer(Answer):
    model_config = ConfigDict(from_attributes=True)

    running: int
    waiting: int
    size: int
    seconds_left: float | None = Field(
        description="Until all is done but what is paused; None before anything was measured"
    )


class Health(Answer):
    """Up, and with what. `loaded` is false until the base model is in memory."""

    status: Literal["ok"] = "ok"
    version: str
    base_model: str
    reason: str
    loaded: bool
    queue: QueueAnswer
    workers: int = Field(description="Those elsewhere that paint; 0 where this process does")
    storage: str = Field(description="folder or bucket")
    storage_waiting: int = Field(description="Pictures that have not reached the bucket yet")
    uptime: float

    @classmethod
    def of(cls, system: System) -> Health:
        queue: QueueFacts = system.queue
        return cls(
            version=system.versions["fluxui"],
            base_model=system.base_model,
            reason=system.reason,
            loaded=bool(system.pipeline or system.crew),
            queue=QueueAnswer.model_validate(queue),
            workers=len(system.crew),
            storage=system.storage.kind,
            storage_waiting=system.storage.waiting,
            uptime=round(system.uptime, 1),
        )
