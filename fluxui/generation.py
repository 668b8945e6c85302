"""One request's life: its states, the table of legal transitions, and the images it made.

A generation is frozen; `advance` gives the next one. What is kept is what stands here: history,
`record.json`, REST and UI all show these fields. URLs and progress are not kept, so not here.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from fluxui.errors import IllegalTransition
from fluxui.request import GenerationRequest


def now() -> datetime:
    return datetime.now(timezone.utc)


class Status(str, Enum):
    queued = "queued"
    running = "running"
    completed = "completed"
    failed = "failed"
    cancelled = "cancelled"

    @property
    def ended(self) -> bool:
        return not TRANSITIONS[self]


# `running → queued` is a restart: the process died, and the generation runs once more.
TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.queued: frozenset({Status.running, Status.failed, Status.cancelled}),
    Status.running: frozenset({Status.queued, Status.completed, Status.failed, Status.cancelled}),
    Status.completed: frozenset(),
    Status.failed: frozenset(),
    Status.cancelled: frozenset(),
}


class Image(BaseModel):
    """One output. `index` counts from 1; `bytes` is the size of the file.

    Only `favourite` may change once it is kept.
    """

    model_config = ConfigDict(frozen=True)

    index: int
    key: str
    thumb_key: str
    seed: int
    width: int
    height: int
    bytes: int
    sha256: str
    favourite: bool = False


class LoraUse(BaseModel):
    """A LoRA as it was really applied: `layers` changed, of `layers_total` in the file."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model_id: str
    name: str
    weight: float
    sha256: str
    layers: int = 0
    layers_total: int = 0


class Failure(BaseModel):
    """Why a generation ended without a picture, in the shape of every error."""

    model_config = ConfigDict(frozen=True)

    code: str
    message: str
    hint: str = ""


class Generation(BaseModel):
    """The record of one request. `prompt` as typed is in `request`; `painted` is what ran.

    `shortcuts` names what made the pictures differ from what the weights as published would paint.
    `visitor` is the mark of who asked, "" for the owner of the machine; `tags` are words that
    people put to it afterwards, and the grid of which it is a cell. `machine` is what painted it:
    device, precision, versions.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    request: GenerationRequest
    status: Status = Status.queued
    base_model: str
    trigger_words: tuple[str, ...] = ()
    painted: str
    loras: tuple[LoraUse, ...] = ()
    images: tuple[Image, ...] = ()
    error: Failure | None = None
    attempts: int = 0
    stopped_at: int | None = None
    seconds: float | None = None
    shortcuts: tuple[str, ...] = ()
    machine: dict[str, str] = {}
    idempotency_key: str = ""
    visitor: str = ""
    tags: tuple[str, ...] = ()
    created_at: datetime = Field(default_factory=now)
    started_at: datetime | None = None
    completed_at: datetime | None = None

    def advance(self, status: Status, **changes: Any) -> Generation:
        """The same generation in its next state. Raises IllegalTransition."""
        if status not in TRANSITIONS[self.status]:
            raise IllegalTransition(
                f"Too late: this generation is {self.status.value} and can't become {status.value}."
            )
        if status is Status.running:
            changes |= {"started_at": now(), "attempts": self.attempts + 1}
        if status.ended:
            changes |= {"completed_at": now()}
        return self.model_copy(update={"status": status, **changes})

    def put_back(self) -> Generation:
        """Queued again by a process that ends in order: that is no attempt that failed."""
        return self.advance(Status.queued, attempts=self.attempts - 1)

    def record(self) -> dict[str, Any]:
        """Plain JSON values; `Generation.model_validate(record)` gives an equal generation."""
        return self.model_dump(mode="json")

    def record_file(self) -> bytes:
        """The record as it lies beside the pictures."""
        return json.dumps(self.record(), indent=1).encode()


def add_trigger_words(prompt: str, trigger_words: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The words that were missing, and the prompt with them in front. None is ever doubled."""
    missing = tuple(word for word in trigger_words if word.lower() not in prompt.lower())
    return missing, ", ".join((*missing, prompt))
