"""`/api/images/`: the bytes of a picture, or the way to the bucket that has them.

It never redirects to anything but what the storage signed a moment ago.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query, Response
from fastapi.responses import RedirectResponse

from fluxui.api.routes import adder
from fluxui.studio import Studio

# A picture never changes once it has a number; only its owner's browser may keep it.
CACHED = "private, max-age=86400, immutable"


class Images:
    """`/api/images/`: the bytes, or the way to the bucket that has them."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def add_to(self, api: FastAPI) -> None:
        kinds: dict[str, Any] = {"image/png": {}, "image/webp": {}}
        responses: dict[int | str, dict[str, Any]] = {
            200: {"content": kinds},
            307: {"description": "A fresh URL of the bucket, valid for at most an hour"},
        }
        add = adder(api, "generate", response_class=Response, responses=responses)
        add("GET", "/api/images/{job_id}/{index}", self.get_image)

    def get_image(
        self,
        job_id: str,
        index: int,
        thumb: Annotated[bool, Query(description="The small one")] = False,
        download: Annotated[bool, Query(description="To be saved, not shown")] = False,
        if_none_match: Annotated[str, Header()] = "",
    ) -> Response:
        """One picture of a generation, counted from 1."""
        picture = self._studio.pictures.image(job_id, index, thumb)
        if picture.url and not download:
            # The URL dies within the hour, so no browser may remember where it led.
            return RedirectResponse(picture.url, 307, headers={"Cache-Control": "no-store"})
        headers = {"Cache-Control": CACHED, "X-Content-Type-Options": "nosniff"}
        if picture.sha256:
            headers["ETag"] = f'"{picture.sha256}"'
            if headers["ETag"] in if_none_match:
                return Response(status_code=304, headers=headers)
        if download:
            name = f"{job_id}_{index}{Path(picture.key).suffix}"
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        with self._studio.pictures.open(picture) as stream:
            return Response(stream.read(), media_type=picture.content_type, headers=headers)
