"""One generation's work, in this order: pipeline → storage → history.

`run` is called in the thread that owns the pipeline and gives back the tail, which another
thread calls: encoding, storing and recording never keep the pipeline waiting. This is the only
place that catches everything: whatever goes wrong ends one generation, with a reason.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import version
from itertools import count
from typing import Any, Protocol

from fluxui import __version__, images
from fluxui.errors import (
    Cancelled,
    FluxuiError,
    GenerationNotFound,
    HistoryReadOnly,
    LoraMisfit,
    StorageError,
    StorageFull,
)
from fluxui.generation import Failure, Generation, Image, LoraUse, Status
from fluxui.loras.library import Library
from fluxui.pipeline import Adapter, Delta, Painting, Pipeline, Step
from fluxui.previews import preview_of
from fluxui.queue import Phase, Progress, Report, Tail
from fluxui.request import GenerationRequest
from fluxui.settings import OutputFormat
from fluxui.storage import Storage, content_type, folder_of, image_key, record_key, thumb_key

log = logging.getLogger(__name__)

# Told why it has to wait; it lets some time pass. Raises Closing, Cancelled.
Wait = Callable[[str], None]

# What of a pipeline's description, and whose versions, go into the record.
MATTERS = ("device", "dtype", "rung", "attention", "compiled", "threads")
LIBRARIES = ("torch", "diffusers", "transformers")

# Between two looks whether the disk has room again.
ROOM_SECONDS = 1.0
# Between two looks how much of a LoRA is here.
FETCH_SECONDS = 0.25


def _unheard(progress: Progress) -> None:
    """Nobody follows what nobody asked for."""


def _nothing() -> None:
    """The tail of a generation that made no picture."""


class Book(Protocol):
    """What it needs of a history; where others paint, the page's process has it."""

    def get(self, job_id: str) -> Generation:
        """Raises GenerationNotFound."""

    def replace(self, generation: Generation) -> None:
        """Raises GenerationNotFound, StorageFull, HistoryReadOnly."""


@dataclass(frozen=True)
class Worker:
    """The organs that a generation passes through."""

    pipeline: Pipeline
    library: Library
    storage: Storage
    history: Book
    # Told of every generation that ended here, after its record is kept.
    tell: Callable[[Generation], None]
    output_format: OutputFormat = "png"

    def prepare(self) -> None:
        """Load the base model ahead of the first generation, which meets any error again."""
        try:
            self.pipeline.load()
        except Exception:
            log.exception("The base model did not load.")

    def run(self, job_id: str, report: Report, cancelled: Callable[[], bool]) -> Tail:
        """Paint every image of one generation; the tail stores and records them."""
        wait = partial(_wait, Progress(), report, cancelled)
        try:
            queued = self.history.get(job_id)
            generation = queued.advance(Status.running)
            _patiently(partial(self.history.replace, generation), wait)
        except GenerationNotFound:
            return _nothing  # deleted while it waited
        except Cancelled:
            return partial(self._record, queued.advance(Status.cancelled), wait)
        except Exception:
            log.exception("Generation %s could not be started.", job_id)
            return _nothing
        saving = _saving(generation.request)
        wait = partial(_wait, saving, report, cancelled)
        try:
            generation = self._with_files(generation, report, cancelled)
            paintings = self._paint(generation, report, cancelled)
        except Cancelled as stop:
            ended = generation.advance(Status.cancelled, stopped_at=stop.step)
        except Exception as error:  # noqa: BLE001 (one bad generation hurts one generation)
            ended = generation.advance(Status.failed, error=_failure(error))
        else:
            report(saving)
            painted = generation.model_copy(update={"machine": machine_of(self.pipeline)})
            return partial(self._keep, painted, paintings, wait)
        return partial(self._record, ended, wait)

    def spare(self, wanted: Callable[[], bool]) -> Tail | None:
        """Paint the preview of one LoRA that has none, as long as nobody waits for a picture."""
        pictures = self.library.pictures
        if not self.pipeline.describe() or (model_id := pictures.lacking()) is None:
            return None
        try:
            asked = preview_of(self.library.find(model_id), self.pipeline.base_model)
            asked = self._with_files(asked, _unheard, wanted)
            if not pictures.failed(model_id):  # now that its hash is known
                painting = self._paint(asked, _unheard, wanted)[0]
                return partial(self._keep_preview, model_id, painting)
        except Cancelled:
            return _nothing  # for later
        except Exception:
            log.exception("The preview of %s could not be painted.", model_id)
            pictures.fail(model_id)
        return _nothing

    def _keep_preview(self, model_id: str, painting: Painting) -> None:
        webp = images.thumbnail(painting.pixels, painting.width, painting.height)
        try:
            self.library.pictures.put(model_id, webp)
        except FluxuiError as error:
            log.warning("The preview of %s could not be kept: %s", model_id, error.message)
            self.library.pictures.fail(model_id)

    def _with_files(
        self, generation: Generation, report: Report, cancelled: Callable[[], bool]
    ) -> Generation:
        """With all its LoRAs on this machine, and the hash of each: the first use of one that lies
        far away may take a while. Raises LoraMisfit for a file that was exchanged meanwhile."""
        uses = []
        for use in generation.loras:
            fetching = self.library.fetch(use.model_id)
            while not wait_for([fetching.job], timeout=FETCH_SECONDS).done:
                done, total = fetching.done() or (0, 0)
                words = f"{use.name}: {done / 1e6:,.1f} of {total / 1e6:,.1f} MB are here."
                report(Progress(Phase.fetching, obstacle=words if total else use.name))
                if cancelled():
                    raise Cancelled(0)
            sha256 = fetching.job.result()
            if use.sha256 not in ("", sha256):
                raise LoraMisfit(f"The LoRA {use.model_id} became another file meanwhile.")
            uses.append(use.model_copy(update={"sha256": sha256}))
        return generation.model_copy(update={"loras": tuple(uses)})

    def _paint(
        self, generation: Generation, report: Report, cancelled: Callable[[], bool]
    ) -> list[Painting]:
        request = generation.request
        shown = Progress(images=request.num_images, steps=request.num_inference_steps)
        report(replace(shown, phase=Phase.loading))
        self.pipeline.load()
        adapters = [self._adapter(lora) for lora in generation.loras]
        paintings = []
        for image, seed in enumerate(request.seeds(), start=1):
            painting = replace(shown, phase=Phase.painting, image=image)
            report(painting)
            if cancelled():
                raise Cancelled(0)
            paintings.append(
                self.pipeline.paint(
                    generation.painted,
                    width=request.width,
                    height=request.height,
                    steps=request.num_inference_steps,
                    guidance=request.guidance_scale,
                    seed=seed,
                    adapters=adapters,
                    on_step=partial(_on_step, painting, report, cancelled),
                )
            )
        return paintings

    def _adapter(self, lora: LoraUse) -> Adapter:
        def load() -> Delta:
            # Imports torch, which only the painting thread may pay for.
            from fluxui.loras.canonical import read

            return read(self.library.path(lora.model_id), self.pipeline.base_model.targets())

        return Adapter(sha256=lora.sha256, weight=lora.weight, load=load)

    def _keep(self, generation: Generation, paintings: Sequence[Painting], wait: Wait) -> None:
        def put(key: str, data: bytes, content_type: str) -> None:
            _patiently(partial(self.storage.put, key, data, content_type), wait)

        try:
            outputs = _store(generation, paintings, put, self.output_format)
            completed = generation.advance(
                Status.completed,
                images=outputs,
                loras=_proofs(generation.loras, paintings[0].layers),
                seconds=round(sum(painting.seconds for painting in paintings), 3),
                shortcuts=paintings[0].shortcuts,
            )
            put(record_key(completed), completed.record_file(), "application/json")
        except Cancelled as stop:  # there was no room, and nobody wants it any more
            completed = generation.advance(Status.cancelled, stopped_at=stop.step)
            self._clear(generation)
        except Exception as error:  # noqa: BLE001 (the picture is lost, the queue is not)
            completed = generation.advance(Status.failed, error=_failure(error))
        self._record(completed, wait)

    def _clear(self, generation: Generation) -> None:
        """Remove what was stored of it already. What can't be is pointed at by nothing."""
        try:
            for stored in list(self.storage.list(folder_of(generation))):
                self.storage.delete(stored.key)
        except StorageError as error:
            log.warning("Not all of %s could be removed: %s", generation.id, error.message)

    def _record(self, ended: Generation, wait: Wait) -> None:
        def wait_on(obstacle: str) -> None:
            with suppress(Cancelled):  # it has ended: only that is still to be written
                wait(obstacle)

        try:
            _patiently(partial(self.history.replace, ended), wait_on)
            self.tell(ended)
        except Exception:
            log.exception("Generation %s ended, but could not be recorded.", ended.id)


def machine_of(pipeline: Pipeline) -> dict[str, str]:
    """What may make a rerun differ in its last bits: device, precision, kernels, versions."""
    facts = pipeline.describe()
    known = {name: str(facts[name]) for name in MATTERS if facts.get(name)}
    return known | _versions()


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def _patiently(keep: Callable[[], None], wait: Wait) -> None:
    """Keep something, however long the disk takes nothing: what was accepted is not dropped.

    Raises Closing, and Cancelled while it waits.
    """
    for trial in count():
        try:
            return keep()
        except (StorageFull, HistoryReadOnly) as error:
            obstacle = error.message
        if not trial:
            log.warning("%s The queue waits.", obstacle)
        wait(obstacle)


def _wait(progress: Progress, report: Report, cancelled: Callable[[], bool], obstacle: str) -> None:
    """Say what is in the way, and let some time pass. Raises Closing, Cancelled."""
    report(replace(progress, obstacle=obstacle))
    time.sleep(ROOM_SECONDS)
    if cancelled():
        raise Cancelled(progress.step)


def _store(
    generation: Generation,
    paintings: Sequence[Painting],
    put: Callable[[str, bytes, str], None],
    output_format: OutputFormat,
) -> tuple[Image, ...]:
    """Encode all, then put them all at once: a bucket's answers take longer than its bytes."""
    outputs, files = [], []
    for index, painting in enumerate(paintings, start=1):
        image, *contents = _encode(generation, index, painting, output_format)
        outputs.append(image)
        keys = image.key, image.thumb_key
        files += [(key, data, content_type(key)) for key, data in zip(keys, contents, strict=True)]
    with ThreadPoolExecutor(len(files), thread_name_prefix="fluxui-put") as pool:
        for stored in [pool.submit(put, *file) for file in files]:
            stored.result()
    return tuple(outputs)


def _saving(request: GenerationRequest) -> Progress:
    images, steps = request.num_images, request.num_inference_steps
    return Progress(Phase.saving, image=images, images=images, step=steps, steps=steps)


def _on_step(painting: Progress, report: Report, cancelled: Callable[[], bool], step: Step) -> None:
    report(replace(painting, step=step.step, preview=step.preview))
    if cancelled():
        raise Cancelled(step.step)


def _proofs(loras: Sequence[LoraUse], layers: Sequence[int]) -> tuple[LoraUse, ...]:
    return tuple(
        lora.model_copy(update={"layers": count}) for lora, count in zip(loras, layers, strict=True)
    )


def _encode(
    generation: Generation, index: int, painting: Painting, output_format: OutputFormat
) -> tuple[Image, bytes, bytes]:
    """What is recorded of one image, its file and its thumbnail."""
    size = painting.width, painting.height
    seed = generation.request.seeds()[index - 1]
    settings = _settings(generation, index, seed)
    if painting.shortcuts:
        settings["shortcuts"] = list(painting.shortcuts)
    file = images.encode(painting.pixels, *size, settings, output_format)
    image = Image(
        index=index,
        key=image_key(generation, index, output_format),
        thumb_key=thumb_key(generation, index),
        seed=seed,
        width=painting.width,
        height=painting.height,
        bytes=len(file),
        sha256=hashlib.sha256(file).hexdigest(),
    )
    return image, file, images.thumbnail(painting.pixels, *size)


def _settings(generation: Generation, index: int, seed: int) -> dict[str, Any]:
    """All it takes to make this picture again, for its file. No id of a person, no secret."""
    return {
        "fluxui": __version__,
        "id": generation.id,
        "image": index,
        "prompt": generation.request.prompt,
        "painted": generation.painted,
        "base_model": generation.base_model,
        "loras": [
            lora.model_dump(include={"model_id", "name", "weight", "sha256"})
            for lora in generation.loras
        ],
        "num_inference_steps": generation.request.num_inference_steps,
        "guidance_scale": generation.request.guidance_scale,
        "width": generation.request.width,
        "height": generation.request.height,
        "seed": seed,
    }


def _failure(error: Exception) -> Failure:
    if isinstance(error, FluxuiError):
        return Failure(**error.as_dict())
    log.error("A generation failed.", exc_info=error)
    return Failure(
        code="internal_error",
        message=f"Something went wrong inside fluxui ({type(error).__name__}).",
        hint="The log has the details. Your settings are kept.",
    )
