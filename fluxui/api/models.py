"""`/api/models/`: the LoRAs. Ids may contain slashes, so the order of the routes counts.

What a file is worth is the library's to say; here it only arrives, under a name that is safe.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import Depends, FastAPI, Form, Request, Response, UploadFile

from fluxui.api.answers import ModelAnswer, ModelChange, ModelDeleted, ModelSource
from fluxui.api.routes import adder, small_body, upload_route, urls_of
from fluxui.errors import InvalidRequest, NotFound
from fluxui.loras.hub import Address
from fluxui.loras.library import Lora
from fluxui.studio import Studio


async def _source(request: Request) -> ModelSource | None:
    """The body, where it is JSON. A form is not read here."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return ModelSource.parse(await small_body(request)) if kind == "application/json" else None


# The second kind of body, which FastAPI can't tell beside a form.
_SCHEMA = {"schema": ModelSource.model_json_schema()}
_JSON = {"requestBody": {"content": {"application/json": _SCHEMA}}}


class Models:
    """`/api/models/`: the LoRAs. Ids may contain slashes, so the order of the routes counts."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def add_to(self, api: FastAPI) -> None:
        one = "/api/models/{model_id:path}"
        add = adder(api, "models")
        add("GET", "/api/models/", self.list_models)
        add("GET", f"{one}/preview", self.get_model_preview, response_class=Response)
        add("GET", one, self.get_model)
        add("POST", f"{one}/restore", self.restore_model)
        add("PATCH", one, self.update_model)
        add("DELETE", one, self.delete_model)
        size = self._studio.settings.max_upload_mib
        upload = adder(api, "models", route_class_override=upload_route(size))
        upload("POST", "/api/models/", self.import_model, status_code=201, openapi_extra=_JSON)

    def list_models(self, request: Request) -> list[ModelAnswer]:
        """Every LoRA there is, by name, those that do not fit included."""
        urls = urls_of(self._studio, request)
        return [ModelAnswer.of(lora, urls) for lora in self._studio.collection.all()]

    def get_model(self, model_id: str, request: Request) -> ModelAnswer:
        """One LoRA, and how it fits the base model."""
        lora = self._studio.collection.get(model_id.rstrip("/"))
        return ModelAnswer.of(lora, urls_of(self._studio, request))

    def get_model_preview(self, model_id: str) -> Response:
        """The picture that stands for it."""
        picture = self._studio.collection.preview(model_id)
        if picture is None:
            raise NotFound(f"{model_id!r} has no preview.")
        return Response(picture, media_type="image/webp", headers={"Cache-Control": "no-cache"})

    def update_model(self, model_id: str, change: ModelChange, request: Request) -> ModelAnswer:
        """Change what is written about a LoRA, never its weights."""
        said = {name: getattr(change, name) for name in change.model_fields_set}
        lora = self._studio.collection.update(model_id.rstrip("/"), **said)
        return ModelAnswer.of(lora, urls_of(self._studio, request))

    def delete_model(self, model_id: str) -> ModelDeleted:
        """Move a LoRA to the trash. The pictures that were painted with it stay."""
        name = model_id.rstrip("/")
        return ModelDeleted(model_id=name, images=self._studio.collection.delete(name))

    def restore_model(self, model_id: str, request: Request) -> ModelAnswer:
        """Bring a deleted LoRA back out of the trash."""
        lora = self._studio.collection.restore(model_id)
        return ModelAnswer.of(lora, urls_of(self._studio, request))

    def import_model(
        self,
        request: Request,
        response: Response,
        source: Annotated[ModelSource | None, Depends(_source)],
        file: UploadFile | None = None,
        model_id: Annotated[str, Form(max_length=200)] = "",
        name: Annotated[str, Form(max_length=200)] = "",
        trigger_words: Annotated[str, Form(max_length=1000, description="With commas")] = "",
    ) -> ModelAnswer:
        """Add a LoRA: a .safetensors file that fits the base model, or as JSON where on the Hub or
        in the bucket it lies."""
        if source:
            lora = self._fetched(source)
        elif file:
            words = tuple(word.strip() for word in trigger_words.split(",") if word.strip())
            lora = self._uploaded(file, model_id, name, words)
        else:
            raise InvalidRequest("file is missing.", "Send a file, or JSON with repo_id or key.")
        urls = urls_of(self._studio, request)
        response.headers["Location"] = urls.model(lora.model_id)
        return ModelAnswer.of(lora, urls)

    def _fetched(self, said: ModelSource) -> Lora:
        if bool(said.repo_id) == bool(said.key):
            raise InvalidRequest("Send either repo_id or key.")
        wanted: Address | str = said.key
        if said.repo_id:
            told = Address.parse(said.repo_id)
            wanted = Address(
                told.repo_id, said.filename or told.filename, said.revision or told.revision
            )
        collection = self._studio.collection
        return collection.fetch(
            collection.find(wanted),
            model_id=said.model_id,
            name=said.name,
            trigger_words=said.trigger_words,
        )

    def _uploaded(self, file: UploadFile, model_id: str, name: str, words: tuple[str, ...]) -> Lora:
        with tempfile.TemporaryDirectory(prefix="fluxui-") as folder:
            path = Path(folder) / _file_name(file.filename or "")
            with path.open("wb") as target:
                shutil.copyfileobj(file.file, target)
            return self._studio.collection.add(path, model_id, name, words)


def _file_name(name: str) -> str:
    """The last part of what the sender calls it, as a plain file name."""
    plain = re.sub(r"[^\w.\- ]", "_", re.split(r"[/\\]", name)[-1]).lstrip(".")
    return plain[-120:] or "unnamed"
