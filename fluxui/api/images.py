"""`/api/images/`: the bytes of a picture, or the way to the bucket that has them.

It never redirects to anything but what the storage signed a moment ago.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Form, Header, Query, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from fluxui.api.routes import adder
from fluxui.api.search import search
from fluxui.errors import InvalidRequest
from fluxui.history import Query as Search
from fluxui.studio import Studio

ZIP = "application/zip"
ZIPS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The pictures, and their records as history.jsonl", "content": {ZIP: {}}}
}
MAX_SELECTED = 200_000  # characters, of some 38 for each picture

# A picture never changes once it has a number; only its owner's browser may keep it.
CACHED = "private, max-age=86400, immutable"


class Images:
    """`/api/images/`: the bytes, or the way to the bucket that has them."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def add_to(self, api: FastAPI) -> None:
        kinds: dict[str, Any] = {"image/png": {}, "image/webp": {}, "image/jpeg": {}}
        responses: dict[int | str, dict[str, Any]] = {
            200: {"content": kinds},
            307: {"description": "A fresh URL of the bucket, valid for at most an hour"},
        }
        add = adder(api, "generate", response_class=Response, responses=responses)
        add("GET", "/api/images/{job_id}/{index}", self.get_image)
        zips = adder(api, "generate", response_class=StreamingResponse, responses=ZIPS)
        zips("GET", "/api/images.zip", self.get_all)
        zips("POST", "/api/images.zip", self.get_selected)

    def get_all(self, query: Annotated[Search, Depends(search)]) -> StreamingResponse:
        """Every picture that matches, as a zip that is made while it is sent."""
        return _zip(self._studio.pictures.zip_all(query))

    def get_selected(
        self,
        pictures: Annotated[str, Form(max_length=MAX_SELECTED, description="`job_id/index` …")],
    ) -> StreamingResponse:
        """These pictures as a zip, with spaces between them. What is not there is left out."""
        return _zip(self._studio.pictures.zip(map(_named, pictures.split())))

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


def _zip(content: Iterator[bytes]) -> StreamingResponse:
    first = next(content)  # a storage that is away is an answer, not a zip that breaks off
    headers = {
        "Content-Disposition": 'attachment; filename="fluxui-pictures.zip"',
        "Cache-Control": "no-store",
    }
    return StreamingResponse(chain([first], content), headers=headers, media_type=ZIP)


def _named(picture: str) -> tuple[str, int]:
    """Raises InvalidRequest."""
    job_id, _, index = picture.rpartition("/")
    if not (job_id and re.fullmatch(r"\d{1,3}", index)):
        raise InvalidRequest("pictures should be like job_id/1 job_id/2, with spaces between.")
    return job_id, int(index)
