"""The Gradio endpoints: what `gradio_client` calls, by name and with named arguments.

Each is a thin door to Studio. `/generate_image` waits for its pictures and hands out files; the
others answer at once with plain JSON.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from fluxui.errors import FluxuiError, IllegalTransition, InvalidRequest, Restarting
from fluxui.generation import Failure, Generation, Status
from fluxui.history import Query
from fluxui.loras.library import Lora
from fluxui.request import DEFAULT_WEIGHT, GenerationForm
from fluxui.studio import Studio
from fluxui.ui.stage import phase_words
from fluxui.watch import Moment

PUBLIC: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "public"}

Loras = list[dict[str, Any]]


def build_endpoints(studio: Studio) -> None:
    """Register every endpoint. Call inside `gr.Blocks`."""
    door = Endpoints(studio)
    with gr.Column(visible=False, elem_id="endpoints"):
        _build_waiting(door)
    for name, answer in door.quick().items():
        gr.api(answer, api_name=name, queue=False)


def _build_waiting(door: Endpoints) -> None:
    """`/generate_image` is an event of hidden components: only those pass progress on."""
    ids = (f"api-{number}" for number in range(100))
    inputs = [
        gr.Textbox(label="prompt", elem_id=next(ids)),
        gr.Textbox(label="model_id", elem_id=next(ids)),
        gr.Number(DEFAULT_WEIGHT, label="lora_weight", elem_id=next(ids)),
        gr.Number(1, label="num_images", elem_id=next(ids)),
        gr.Number(label="num_inference_steps", elem_id=next(ids)),
        gr.Number(label="guidance_scale", elem_id=next(ids)),
        gr.Number(label="width", elem_id=next(ids)),
        gr.Number(label="height", elem_id=next(ids)),
        gr.Number(label="seed", elem_id=next(ids)),
        gr.JSON(label="loras", elem_id=next(ids)),
        gr.Textbox(label="idempotency_key", elem_id=next(ids)),
    ]
    outputs = [
        gr.File(label="files", file_count="multiple", elem_id=next(ids)),
        gr.JSON(label="record", elem_id=next(ids)),
    ]
    gr.Button("generate_image", elem_id=next(ids)).click(
        door.generate_image,
        inputs,
        outputs,
        api_name="generate_image",
        concurrency_limit=None,
        **PUBLIC,
    )


class Endpoints:
    """The functions behind the endpoints; their arguments are the contract."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def quick(self) -> dict[str, Any]:
        """Those that answer at once, by name."""
        return {
            "submit_generation": self.submit_generation,
            "get_generation": self.get_generation,
            "list_generations": self.list_generations,
            "cancel_generation": self.cancel_generation,
            "delete_generation": self.delete_generation,
            "list_models": self.list_models,
            "get_model": self.get_model,
            "delete_model": self.delete_model,
        }

    async def generate_image(
        self,
        prompt: str,
        model_id: str | None = None,
        lora_weight: float = DEFAULT_WEIGHT,
        num_images: int = 1,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
        seed: int | None = None,
        loras: Loras | None = None,
        idempotency_key: str | None = None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> tuple[list[str], dict[str, Any]]:
        """Paint, wait, and give back the files and the record. `job.cancel()` stops the work; the
        same `idempotency_key` again waits for the same pictures."""
        with _said():
            form, key = _form(locals()), idempotency_key or ""
            generation = await asyncio.to_thread(self.studio.submit, form, key)
            try:
                async for moment in self.studio.watch(generation.id):
                    generation = moment.generation
                    progress(_fraction(moment), desc=_words(moment))
            except asyncio.CancelledError:
                await asyncio.to_thread(self._stop, generation.id)
                raise
            if generation.status is not Status.completed:
                raise _ended(generation)
            files = await asyncio.to_thread(self._files, generation)
            return files, self._record(generation)

    def submit_generation(
        self,
        prompt: str,
        model_id: str | None = None,
        lora_weight: float = DEFAULT_WEIGHT,
        num_images: int = 1,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
        seed: int | None = None,
        loras: Loras | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Queue a request and give back its record; `id` is for the other calls. The same
        `idempotency_key` again gives the same one."""
        with _said():
            return self._record(self.studio.submit(_form(locals()), idempotency_key or ""))

    def get_generation(self, job_id: str) -> dict[str, Any]:
        """The record of one generation, its URLs, and how far it is."""
        with _said():
            return self._record(self.studio.get(job_id))

    def list_generations(
        self,
        limit: int = 48,
        cursor: str = "",
        q: str = "",
        model_id: str = "",
        status: str = "",
    ) -> dict[str, Any]:
        """Records, newest first; `cursor` of the answer asks for those after."""
        with _said():
            query = Query(words=q, model_id=model_id, status=_status(status))
            page = self.studio.pictures.page(query, cursor, min(max(limit, 1), 200))
            return {
                "generations": [self._record(one) for one in page.generations],
                "cursor": page.cursor,
                "total": page.total,
            }

    def cancel_generation(self, job_id: str) -> dict[str, Any]:
        """Stop it within one step; `stopped_at` is that step, None if it had only waited."""
        with _said():
            return self._record(self.studio.cancel(job_id))

    def delete_generation(self, job_id: str) -> dict[str, Any]:
        """Cancel it if it runs, then move its pictures to the trash."""
        with _said():
            self.studio.delete(job_id)
            return {"id": job_id, "deleted": True}

    def list_models(self) -> Loras:
        """Every LoRA, with its fit report."""
        with _said():
            return [_model(lora) for lora in self.studio.collection.all()]

    def get_model(self, model_id: str) -> dict[str, Any]:
        """One LoRA, with its fit report."""
        with _said():
            return _model(self.studio.collection.get(model_id))

    def delete_model(self, model_id: str) -> dict[str, Any]:
        """Delete a LoRA. Pictures that were painted with it stay; `images` counts them."""
        with _said():
            return {
                "model_id": model_id,
                "deleted": True,
                "images": self.studio.collection.delete(model_id),
            }

    def _stop(self, job_id: str) -> None:
        """Unless it ended by itself meanwhile, or fluxui ends and not the caller's wish."""
        with suppress(IllegalTransition, Restarting):
            self.studio.cancel(job_id)

    def _files(self, generation: Generation) -> list[str]:
        """The pictures as files in Gradio's cache, from where the client fetches them."""
        return [self._file(generation, image.index) for image in generation.images]

    def _file(self, generation: Generation, index: int) -> str:
        picture = self.studio.pictures.image(generation.id, index)
        with self.studio.pictures.open(picture) as stream:
            name = f"{generation.id}_{index}{PurePosixPath(picture.key).suffix}"
            return str(save_bytes_to_cache(stream.read(), name, get_upload_folder()))

    def _record(self, generation: Generation) -> dict[str, Any]:
        """What is kept of a generation, with fresh URLs and the progress."""
        cards = [self.studio.pictures.card(generation.id, one.index) for one in generation.images]
        progress = self.studio.progress(generation.id)
        record = generation.record()
        del record["idempotency_key"], record["visitor"]
        return record | {
            "output_paths": [card.url for card in cards],
            "progress": progress and _steps(asdict(progress)),
        }


def _form(values: dict[str, Any]) -> GenerationForm:
    """The arguments of a call as a form; what is no field of it is left out."""
    fields = {name: values[name] for name in GenerationForm.model_fields if name in values}
    return GenerationForm.parse({**fields, "loras": fields["loras"] or ()})


@contextmanager
def _said() -> Iterator[None]:
    """Our errors as Gradio's, so that a client reads the sentence and the hint."""
    try:
        yield
    except FluxuiError as error:
        raise gr.Error(
            f"{error.message} {error.hint}".strip(), title=error.code, print_exception=False
        ) from None


def _ended(generation: Generation) -> gr.Error:
    """Why there is no picture, for a client that waited for it."""
    error = generation.error or Failure(code="cancelled", message="The generation was cancelled.")
    return gr.Error(
        f"{error.message} {error.hint}".strip(), title=error.code, print_exception=False
    )


def _status(name: str) -> Status | None:
    if name and name not in Status.__members__:
        raise InvalidRequest(f"status should be one of {', '.join(Status.__members__)}.")
    return Status(name) if name else None


def _fraction(moment: Moment) -> float:
    if moment.progress is None:
        return 1.0 if moment.generation.status.ended else 0.0
    return moment.progress.fraction


def _words(moment: Moment) -> str:
    if moment.progress is None:
        return moment.generation.status.value
    name, title, rest = phase_words(moment.progress)
    return f"{title}, {rest}"


def _steps(progress: dict[str, Any]) -> dict[str, Any]:
    del progress["preview"]
    return progress | {"phase": progress["phase"].value}


def _model(lora: Lora) -> dict[str, Any]:
    return {
        "model_id": lora.model_id,
        "name": lora.name,
        "trigger_words": list(lora.trigger_words),
        "default_weight": lora.default_weight,
        "notes": lora.notes,
        "built_in": lora.built_in,
        "size": lora.size,
        "sha256": lora.sha256,
        "added": lora.added.isoformat(),
        "fit": asdict(lora.fit),
        "training": dict(lora.training),
    }
