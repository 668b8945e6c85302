"""The one door behind every door: what UI, REST, Gradio endpoints and command line may ask for.

It admits requests, and says what became of them. It paints nothing: the queue's worker does. It
knows no HTTP, no HTML and no Gradio.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from copy import copy
from dataclasses import replace
from functools import partial

from fluxui.collection import Collection
from fluxui.errors import (
    Forbidden,
    GenerationNotFound,
    HistoryReadOnly,
    IdempotencyConflict,
    IllegalTransition,
    InvalidRequest,
    LoraMisfit,
    Restarting,
    StorageFull,
)
from fluxui.gallery import image_of
from fluxui.generation import Generation, LoraUse, Status, add_trigger_words
from fluxui.grids import Grids
from fluxui.history import History, Query
from fluxui.loras.hub import Hub
from fluxui.loras.library import Library, Lora
from fluxui.pictures import Pictures, theirs
from fluxui.pipeline import Pipeline
from fluxui.pipeline.base_models import BaseModel
from fluxui.queue import Cancelling, Progress, Queue
from fluxui.quota import Quota, accepted_lately
from fluxui.recall import Recalled, check_repeatable, loras_of, recall, recall_kept
from fluxui.request import GenerationForm, GenerationRequest, LoraRef
from fluxui.settings import Settings
from fluxui.storage import Storage
from fluxui.storage.spool import SpooledStorage
from fluxui.system import System, queue_facts, storage_facts, versions
from fluxui.trash import Sweeper, Trash
from fluxui.upkeep import Upkeep
from fluxui.visitor import OWNER, Visitor, Who
from fluxui.waiting import ticket
from fluxui.watch import Moment, Watch
from fluxui.webhook import Tell

# How long a cancel waits for the end: a step of a slow device, or two looks at a full disk.
CANCEL_SECONDS, STUCK_SECONDS = 10.0, 2.5
LOOK_SECONDS = 0.01
MAX_KEY = 200


class Studio:
    """All organs on one table. `open_studio` sets it, for the owner of the machine.

    What belongs to another visitor is not there: GenerationNotFound, as for any unknown id.
    """

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        library: Library,
        storage: Storage,
        history: History,
        queue: Queue,
        tell: Tell,
    ) -> None:
        self.settings = settings
        self.base_model: BaseModel = pipeline.base_model
        self._pipeline = pipeline
        self._library = library
        self._storage = storage
        self._history = history
        self._queue = queue
        self._watch = Watch(pipeline.base_model.id, history, queue)
        self._tell = tell
        self._quota = Quota(settings, partial(accepted_lately, history))
        self.upkeep = Upkeep(storage, history, settings.data_dir)
        token = settings.hf_token
        self._hub = Hub(token.get_secret_value() if token else None)
        self._trash = Trash(storage, history)
        self._sweeper = Sweeper(self._trash, settings.trash_days)
        self._admission = threading.Lock()
        self._leaving = threading.Event()
        self._started = time.monotonic()
        self._for(lambda: OWNER)

    def _for(self, who: Who) -> None:
        self._who = who
        self.pictures = Pictures(self._storage, self._history, self._trash, who)
        self.collection = Collection(self._library, self._history, self._hub, who)
        self.grids = Grids(self, self.pictures, self.collection, who)

    def serving(self, who: Who) -> Studio:
        """The same studio, at each call for the visitor that `who` then gives."""
        view = copy(self)
        view._for(who)
        return view

    def visitor(self) -> Visitor:
        """Whom this studio serves now."""
        return self._who()

    # Requests

    def submit(
        self, form: GenerationForm, idempotency_key: str = "", tags: tuple[str, ...] = ()
    ) -> Generation:
        """Accept a request: it is on disk when this returns.

        Raises InvalidRequest, LoraNotFound, LoraMisfit, QueueFull, LimitReached, Restarting,
        IdempotencyConflict, StorageFull, HistoryReadOnly.
        """
        if len(idempotency_key) > MAX_KEY:
            raise InvalidRequest(f"An idempotency key has at most {MAX_KEY} characters.")
        request = form.admit(self.base_model.limits)
        loras = [self._fitting(ref) for ref in request.loras]
        visitor = self._who()
        key = f"{visitor.id}\n{idempotency_key}" if visitor.id else idempotency_key
        with self._admission:
            if earlier := self._history.find(key) if idempotency_key else None:
                return self._same(earlier, form)
            return self._accept(request, loras, key if idempotency_key else "", tags)

    def _fitting(self, ref: LoraRef) -> Lora:
        lora = self._library.find(ref.model_id)
        if not lora.fit.fits:
            raise LoraMisfit(lora.fit.verdict)
        return lora

    def _same(self, earlier: Generation, form: GenerationForm) -> Generation:
        again = form.admit(self.base_model.limits, draw=lambda: earlier.request.seed)
        if again != earlier.request:
            raise IdempotencyConflict("This Idempotency-Key was used for another request.")
        return earlier

    def _accept(
        self,
        request: GenerationRequest,
        loras: list[Lora],
        key: str = "",
        tags: tuple[str, ...] = (),
    ) -> Generation:
        words = tuple(word for lora in loras for word in lora.trigger_words)
        added, painted = add_trigger_words(request.prompt, words)
        generation = Generation(
            request=request,
            base_model=self.base_model.id,
            trigger_words=added,
            painted=painted,
            loras=tuple(
                LoraUse(
                    model_id=lora.model_id,
                    name=lora.name,
                    weight=ref.weight,
                    sha256=lora.sha256,
                    layers_total=lora.fit.layers_total,
                )
                for lora, ref in zip(loras, request.loras, strict=True)
            ),
            idempotency_key=key,
            visitor=self._who().id,
            tags=tags,
        )
        self._stay("Nothing was queued.")
        place = ticket(generation, self._watch.pace())
        with self._quota.spending(self._who(), request):
            self._queue.put(place, keep=lambda: self._history.add(generation))
        for lora in loras:
            if not lora.sha256:  # so that it is here, if that can be, when its turn comes
                self._library.fetch(lora.model_id)
        return generation

    def retry(self, job_id: str) -> Generation:
        """The same request once more, as a new generation. Raises IllegalTransition."""
        generation = self.get(job_id)
        if generation.status not in (Status.failed, Status.cancelled):
            raise IllegalTransition(
                f"This generation is {generation.status.value}: there is nothing to run again."
            )
        loras = [self._fitting(ref) for ref in generation.request.loras]
        return self._accept(generation.request, loras, tags=generation.tags)

    def repeat(self, job_id: str, index: int) -> Generation:
        """Paint one picture again, as a new generation. Raises IllegalTransition, LoraMisfit,
        LoraNotFound where that can't be the same picture, and says why."""
        generation = self.get(job_id)
        loras = [self._library.get(ref.model_id) for ref in generation.request.loras]
        check_repeatable(generation, self.base_model, loras)
        # One that is not here yet is compared when it is.
        pairs = zip(loras, generation.loras, strict=True)
        loras = [replace(lora, sha256=lora.sha256 or use.sha256) for lora, use in pairs]
        seed = image_of(generation, index).seed
        request = generation.request.model_copy(update={"seed": seed, "num_images": 1})
        return self._accept(request, loras)

    def estimate(self, form: GenerationForm) -> float | None:
        """Seconds for this request on this machine, from what it painted before."""
        return self._watch.pace().seconds(form.admit(self.base_model.limits))

    def recall(self, picture: bytes) -> Recalled:
        """How a picture was made, as far as it can be made here. Raises InvalidRequest."""
        return recall(picture, self.base_model, self.collection.all(), self._library.by_hash)

    def recall_kept(self, job_id: str, index: int) -> Recalled:
        """The same of a picture that is kept. Raises GenerationNotFound, ImageNotFound."""
        generation = self.get(job_id)
        seed = image_of(generation, index).seed
        return recall_kept(
            generation, seed, self.base_model, self.collection.all(), self._library.by_hash
        )

    def request_of(self, job_id: str, index: int) -> GenerationRequest:
        """What paints this one picture alone, with the LoRAs that it was painted with, whatever
        they are called by now. Raises GenerationNotFound, ImageNotFound, LoraNotFound."""
        generation = self.get(job_id)
        seed = image_of(generation, index).seed
        loras = loras_of(generation, self.collection.all(), self._library.by_hash)
        alone = {"seed": seed, "num_images": 1, "loras": loras}
        return generation.request.model_copy(update=alone)

    # What became of them

    def get(self, job_id: str) -> Generation:
        """Raises GenerationNotFound."""
        return self.pictures.get(job_id)

    def progress(self, job_id: str) -> Progress | None:
        """None if it neither waits nor runs."""
        if progress := self._queue.progress(job_id):
            with suppress(GenerationNotFound):
                self.get(job_id)
                return progress
        return None

    def jobs(self) -> list[Generation]:
        """Those that run, then those that wait, in order."""
        visitor = self._who()
        return [one for one in self._watch.jobs() if visitor.owns(one.visitor)]

    def queue(self) -> list[Moment]:
        """The same, each with its progress and the time until its end."""
        visitor = self._who()
        return [one for one in self._watch.queue() if visitor.owns(one.generation.visitor)]

    def moment(self, job_id: str) -> Moment:
        """How one stands now. Raises GenerationNotFound."""
        return self._watch.moment(job_id, self.get)

    def watch(self, job_id: str) -> AsyncIterator[Moment]:
        """How it goes on, until its end. Raises GenerationNotFound, Restarting."""
        return self._watch.moments(job_id, partial(theirs, self._history, self._who()))

    def cancel(self, job_id: str) -> Generation:
        """Stop this one, in whatever state it is: it has ended, or does so after the step it is
        in, or once the disk takes that.

        Raises IllegalTransition if it had ended before; StorageFull, HistoryReadOnly if it waits
        and goes on to wait.
        """
        generation = self.get(job_id)
        self._stay("Nothing was changed.")
        outcome = self._queue.cancel(
            job_id, keep=lambda: self._history.replace(generation.advance(Status.cancelled))
        )
        if outcome is Cancelling.dequeued:
            dequeued = self.get(job_id)
            self._tell(dequeued)
            return dequeued
        if outcome is Cancelling.stopping:
            generation = self._wait_for_end(job_id)
        if generation.status in (Status.completed, Status.failed):
            raise IllegalTransition(f"Too late: it is already {generation.status.value}.")
        if outcome is Cancelling.absent and generation.status is Status.cancelled:
            raise IllegalTransition("It was cancelled before.")
        return generation

    def _wait_for_end(self, job_id: str) -> Generation:
        begin = time.monotonic()
        while not (generation := self.get(job_id)).status.ended:
            progress = self._queue.progress(job_id)
            stuck = progress is not None and progress.obstacle
            if time.monotonic() - begin > (STUCK_SECONDS if stuck else CANCEL_SECONDS):
                break
            time.sleep(LOOK_SECONDS)
        return generation

    def move_up(self, job_id: str) -> Generation:
        """Make it the next of one's own. Raises IllegalTransition if it does not wait any more."""
        generation = self.get(job_id)
        if not self._queue.move_up(job_id):
            raise IllegalTransition("It does not wait any more.")
        return generation

    def pause(self, paused: bool) -> None:
        """Hold back what waits, or let it go on. What runs goes on."""
        self._queue.pause(self._who().id, paused)

    def paused(self) -> bool:
        """Whether one's own queue is held back."""
        return self._queue.paused(self._who().id)

    def seconds_left(self) -> float | None:
        """Until all is done, everybody's, but what is held back; 0 if nothing is queued."""
        return self._watch.seconds_left()

    def waiting(self) -> list[str]:
        """What one waits for oneself, in order. The owner's is not that of all."""
        mark = self._who().id
        mine = (one for one in self._watch.queue() if one.generation.visitor == mark)
        return [one.generation.id for one in mine if one.waits]

    def delete(self, job_id: str) -> None:
        """Stop it if it runs, then move its pictures and its record to the trash.

        Raises IllegalTransition as long as it has not stopped.
        """
        generation = self.get(job_id)
        if not generation.status.ended:
            generation = self._stopped(generation)
        if not generation.status.ended:
            raise IllegalTransition("It stops after the step it is in.", "Delete it then.")
        self.pictures.discard(generation)

    def _stopped(self, generation: Generation) -> Generation:
        try:
            return self.cancel(generation.id)
        except IllegalTransition:
            return self.get(generation.id)  # it ended by itself meanwhile

    # The machine

    def owned(self) -> bool:
        """Whether it is the owner who asks."""
        return self._who().owner

    def rebuild_history(self) -> None:
        """Look in the storage for what the history lacks, behind the page. Raises Forbidden."""
        if not self.owned():
            raise Forbidden("Only the owner of this fluxui rebuilds its history.")
        self.upkeep.start_rebuild()

    def system(self) -> System:
        """Plain facts for the System tab, `/api/health` and the doctor."""
        return System(
            base_model=self.base_model.name,
            reason=self.base_model.reason,
            licence=self.base_model.licence,
            pipeline=self._pipeline.describe(),
            storage=storage_facts(self.settings, self._storage),
            pictures=self.pictures.page(Query(status=Status.completed), limit=0).images,
            loras=len(self._library.list()),
            queue=queue_facts(self.settings, self._queue, self.seconds_left()),
            crew=tuple(self._queue.crew()),
            uptime=time.monotonic() - self._started,
            versions=versions(),
        )

    def warm_up(self) -> None:
        """Load the base model now, in the thread that owns it, and look after new LoRAs."""
        self._queue.start()
        if self.settings.lora_watch:
            self._library.watch(self.settings.lora_watch)

    def leave(self) -> int:
        """This process ends: tell everybody who watches, how many that are, and take nothing
        more in. Only `close` is to follow."""
        self._leaving.set()
        return self._watch.leave()

    def _stay(self, otherwise: str) -> None:
        if self._leaving.is_set():
            raise Restarting(otherwise)

    def close(self) -> None:
        """End within a step. What still runs then is for the next process, as if it had waited."""
        self._sweeper.close()
        self._queue.close()
        self.upkeep.close()
        with suppress(StorageFull, HistoryReadOnly):  # it counts as an attempt then
            for generation in self._history.unfinished():
                if generation.status is Status.running:
                    self._history.replace(generation.put_back())
        self._history.close()
        self._library.close()
        if isinstance(self._storage, SpooledStorage):
            self._storage.close()
