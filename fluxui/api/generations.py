"""`/api/generate/`: ask for pictures, and see what became of them.

Every answer shows a generation as it is at that moment. It knows no queue and no history, only
Studio.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from fluxui.api.answers import (
    Cancellation,
    Deleted,
    GenerationAnswer,
    GenerationEvent,
    GenerationList,
    Problem,
    QueuePause,
)
from fluxui.api.routes import adder, urls_of
from fluxui.errors import GenerationNotFound, Restarting
from fluxui.generation import Generation, Status
from fluxui.history import Query as Search
from fluxui.request import GenerationForm
from fluxui.studio import MAX_KEY, Studio
from fluxui.watch import Moment

MAX_PAGE = 200
# Milliseconds until a browser that lost the stream asks again.
RETRY = 2000


class Generations:
    """`/api/generate/`: ask for pictures, and see what became of them."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def add_to(self, api: FastAPI) -> None:
        one = "/api/generate/{job_id}"
        add = adder(api, "generate")
        add("POST", "/api/generate/image", self.generate_image, status_code=202)
        add("GET", "/api/generate/", self.list_generations)
        add("GET", one, self.get_generation)
        add("DELETE", one, self.delete_generation)
        add("POST", f"{one}/cancel", self.cancel_generation)
        add("POST", f"{one}/retry", self.retry_generation, status_code=202)
        add("POST", f"{one}/move_up", self.move_up_generation)
        add("POST", "/api/queue/pause", self.pause_queue)
        add("POST", "/api/queue/resume", self.resume_queue)
        add(
            "GET",
            f"{one}/events",
            self.watch_generation,
            dependencies=[Depends(self.existing)],
            response_class=EventSourceResponse,
        )

    def generate_image(
        self,
        form: GenerationForm,
        request: Request,
        response: Response,
        idempotency_key: Annotated[str, Header(max_length=MAX_KEY)] = "",
    ) -> GenerationAnswer:
        """Queue a request. The same `Idempotency-Key` again gives the same generation."""
        return self._accepted(self._studio.submit(form, idempotency_key), request, response)

    def retry_generation(
        self, job_id: str, request: Request, response: Response
    ) -> GenerationAnswer:
        """Run a failed or cancelled one again, as a new generation."""
        return self._accepted(self._studio.retry(job_id), request, response)

    def _accepted(
        self, generation: Generation, request: Request, response: Response
    ) -> GenerationAnswer:
        urls = urls_of(self._studio, request)
        response.headers["Location"] = urls.generation(generation.id)
        progress = self._studio.progress(generation.id)
        return GenerationAnswer.of(Moment(generation, progress, None), urls)

    def list_generations(
        self,
        request: Request,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 48,
        cursor: Annotated[str, Query(max_length=200)] = "",
        q: Annotated[str, Query(max_length=200, description="Words of the prompt")] = "",
        model_id: Annotated[str, Query(max_length=200)] = "",
        status: Status | None = None,
    ) -> GenerationList:
        """What was asked for, newest first. `cursor` of an answer continues after it."""
        page = self._studio.pictures.page(Search(q, model_id, status), cursor, limit)
        urls = urls_of(self._studio, request)
        moments = [Moment(one, self._studio.progress(one.id), None) for one in page.generations]
        return GenerationList(
            generations=[GenerationAnswer.of(moment, urls) for moment in moments],
            cursor=page.cursor,
            total=page.total,
            images=page.images,
        )

    def get_generation(self, job_id: str, request: Request) -> GenerationAnswer:
        """Where it stands. `output_paths` are URLs that open, once it is completed."""
        moment = self._studio.moment(job_id)
        return GenerationAnswer.of(moment, urls_of(self._studio, request))

    def delete_generation(self, job_id: str) -> Deleted:
        """Stop it if it runs, then remove its pictures and its record."""
        self._studio.delete(job_id)
        return Deleted(id=job_id)

    def cancel_generation(self, job_id: str, request: Request) -> Cancellation:
        """Stop it, waiting or running. 409 if it has ended already."""
        cancelled = self._studio.cancel(job_id)
        progress = None if cancelled.status.ended else self._studio.progress(job_id)
        moment = Moment(cancelled, progress, None)
        answer = GenerationAnswer.of(moment, urls_of(self._studio, request))
        return Cancellation.of(cancelled, answer)

    def move_up_generation(self, job_id: str, request: Request) -> GenerationAnswer:
        """Paint it before all others of yours that wait. 409 if it does not wait any more."""
        moved = self._studio.move_up(job_id)
        moment = Moment(moved, self._studio.progress(job_id), None)
        return GenerationAnswer.of(moment, urls_of(self._studio, request))

    def pause_queue(self) -> QueuePause:
        """Hold back what you wait for, what you will ask for included; what runs goes on. It
        lasts over a restart, and ends when the queue of all is full."""
        self._studio.pause(True)
        return QueuePause(paused=True)

    def resume_queue(self) -> QueuePause:
        """Let it go on, as if it came now."""
        self._studio.pause(False)
        return QueuePause(paused=False)

    def existing(self, job_id: str) -> None:
        """A stream can no longer say 404 once it has begun."""
        self._studio.get(job_id)

    async def watch_generation(
        self, job_id: str, request: Request, last_event_id: Annotated[str, Header()] = ""
    ) -> AsyncIterator[ServerSentEvent]:
        """Server-sent events: `progress`, and one `end` (or `deleted`). Each carries the whole
        state, so a client that comes back with `Last-Event-ID` has missed nothing. Close the
        stream on `end`; after `restarting` come back."""
        urls = urls_of(self._studio, request)
        number = int(last_event_id) if re.fullmatch(r"\d{1,9}", last_event_id) else 0
        try:
            async for moment in self._studio.watch(job_id):
                number += 1
                kind = "end" if moment.generation.status.ended else "progress"
                event = GenerationEvent.at(moment, urls)
                yield ServerSentEvent(data=event, event=kind, id=str(number), retry=RETRY)
        except GenerationNotFound as gone:
            yield ServerSentEvent(data=Problem(**gone.as_dict()), event="deleted")
        except Restarting as stop:
            problem = Problem(**stop.as_dict())
            yield ServerSentEvent(data=problem, event="restarting", retry=RETRY)
