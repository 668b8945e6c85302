"""`/api/models/`: the LoRAs. Ids may contain slashes, so the order of the routes counts.

What a file is worth is the library's to say; here it only arrives, under a name that is safe.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Form, Request, Response, UploadFile

from fluxui.api.answers import ModelAnswer, ModelChange, ModelDeleted
from fluxui.api.routes import adder, upload_route, urls_of
from fluxui.errors import NotFound
from fluxui.studio import Studio


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
        add("PATCH", one, self.update_model)
        add("DELETE", one, self.delete_model)
        size = self._studio.settings.max_upload_mib
        upload = adder(api, "models", route_class_override=upload_route(size))
        upload("POST", "/api/models/", self.import_model, status_code=201)

    def list_models(self, request: Request) -> list[ModelAnswer]:
        """Every LoRA there is, by name, those that do not fit included."""
        urls = urls_of(self._studio, request)
        return [ModelAnswer.of(lora, urls) for lora in self._studio.loras()]

    def get_model(self, model_id: str, request: Request) -> ModelAnswer:
        """One LoRA, and how it fits the base model."""
        lora = self._studio.lora(model_id.rstrip("/"))
        return ModelAnswer.of(lora, urls_of(self._studio, request))

    def get_model_preview(self, model_id: str) -> Response:
        """The picture that stands for it."""
        picture = self._studio.lora_preview(model_id)
        if picture is None:
            raise NotFound(f"{model_id!r} has no preview.")
        return Response(picture, media_type="image/webp", headers={"Cache-Control": "no-cache"})

    def update_model(self, model_id: str, change: ModelChange, request: Request) -> ModelAnswer:
        """Change what is written about a LoRA, never its weights."""
        said = {name: getattr(change, name) for name in change.model_fields_set}
        lora = self._studio.update_lora(model_id.rstrip("/"), **said)
        return ModelAnswer.of(lora, urls_of(self._studio, request))

    def delete_model(self, model_id: str) -> ModelDeleted:
        """Remove a LoRA. The pictures that were painted with it stay."""
        name = model_id.rstrip("/")
        return ModelDeleted(model_id=name, images=self._studio.delete_lora(name))

    def import_model(
        self,
        request: Request,
        response: Response,
        file: UploadFile,
        model_id: Annotated[str, Form(max_length=200)] = "",
        name: Annotated[str, Form(max_length=200)] = "",
        trigger_words: Annotated[str, Form(max_length=1000, description="With commas")] = "",
    ) -> ModelAnswer:
        """Add a LoRA: a .safetensors file that fits the base model."""
        words = tuple(word.strip() for word in trigger_words.split(",") if word.strip())
        with tempfile.TemporaryDirectory(prefix="fluxui-") as folder:
            source = Path(folder) / _file_name(file.filename or "")
            with source.open("wb") as target:
                shutil.copyfileobj(file.file, target)
            lora = self._studio.import_lora(source, model_id, name, words)
        urls = urls_of(self._studio, request)
        response.headers["Location"] = urls.model(lora.model_id)
        return ModelAnswer.of(lora, urls)


def _file_name(name: str) -> str:
    """The last part of what the sender calls it, as a plain file name."""
    plain = re.sub(r"[^\w.\- ]", "_", re.split(r"[/\\]", name)[-1]).lstrip(".")
    return plain[-120:] or "unnamed"
