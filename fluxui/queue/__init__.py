"""The order of the work: who waits, who runs, and how far it is.

A queue is handed `run` and never imports the pipeline. What it knows is gone with the process;
the history is what lasts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from fluxui.queue.order import Ticket


class Phase(str, Enum):
    waiting = "waiting"
    fetching = "fetching"
    loading = "loading"
    painting = "painting"
    saving = "saving"


@dataclass(frozen=True)
class Progress:
    """How far one generation is. Images and steps count from 1; `preview` is a small JPEG.

    `ahead` counts those that run and those that will be painted before it. `obstacle` is one
    sentence while something outside keeps it waiting where it is: a full disk, a download.
    """

    phase: Phase = Phase.waiting
    ahead: int = 0
    image: int = 0
    images: int = 0
    step: int = 0
    steps: int = 0
    preview: bytes | None = None
    paused: bool = False
    obstacle: str = ""

    @property
    def fraction(self) -> float:
        """0 to 1, over all images and steps."""
        if not self.images or not self.steps:
            return 0.0
        done = (max(self.image, 1) - 1) * self.steps + self.step
        return min(done / (self.images * self.steps), 1.0)


@dataclass(frozen=True)
class Hand:
    """One worker elsewhere that lives: its name, what it paints on, how many it is at."""

    name: str
    device: str
    jobs: int


NOBODY = "No worker is there. Start one: python -m fluxui worker"


class Closing(BaseException):
    """This process ends: what it runs is to run again in the next one. No error, so nothing
    that catches errors may keep it."""


Report = Callable[[Progress], None]
# What is left to do when the pipeline is free again: encode, store, record.
Tail = Callable[[], None]
# run(job_id, report, cancelled) paints and returns the tail. Both raise only the Closing that
# `cancelled` may raise.
Run = Callable[[str, Report, Callable[[], bool]], Tail]

# spare(wanted) does a piece of work that nobody asked for, and stops once `wanted()` says that
# somebody waits; None if there is nothing to do. It raises nothing.
Spare = Callable[[Callable[[], bool]], Tail | None]


class Cancelling(str, Enum):
    """What a cancel met: it had not begun, it runs and will stop, or it is not here."""

    dequeued = "dequeued"
    stopping = "stopping"
    absent = "absent"


class Queue(Protocol):
    """Visitors take turns. Painting is one at a time; tails run beside the next painting."""

    def start(self) -> None:
        """Prepare the pipeline now, not at the first generation."""

    def put(self, ticket: Ticket, keep: Callable[[], None]) -> None:
        """Append. `keep` is called once there is room, before anyone can see the job.

        Raises QueueFull, LimitReached, and what `keep` raises; then nothing was appended.
        """

    def cancel(self, job_id: str, keep: Callable[[], None]) -> Cancelling:
        """Take it out, or ask it to stop. `keep` is called before it is taken out; what it
        raises leaves it where it was."""

    def progress(self, job_id: str) -> Progress | None:
        """None if it neither waits nor runs."""

    def jobs(self) -> list[str]:
        """The running ones first, then those that wait, in order."""

    def move_up(self, job_id: str) -> bool:
        """Make it the next of its visitor. False if it does not wait."""

    def pause(self, visitor: str, paused: bool) -> None:
        """Hold back what this visitor waits for, or let it go on, over a restart too. What runs
        goes on, and a full queue ends every pause. Raises LimitReached, StorageFull,
        StorageUnavailable."""

    def paused(self, visitor: str) -> bool:
        """Whether this visitor holds back."""

    def crew(self) -> list[Hand]:
        """The workers elsewhere that paint for it; none where this process paints."""

    def close(self) -> None:
        """Let the running one end if it does so soon, and stop."""
