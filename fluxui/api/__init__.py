"""The REST door: parse, ask Studio, answer. An ordinary FastAPI, so that it can be tested alone.

It knows nothing of logins (the gate stands in front of it) and nothing of Gradio, which serves
its routes on the port of the page.
"""

from __future__ import annotations

from fastapi import FastAPI

from fluxui import __version__
from fluxui.api.answers import Health, Problem
from fluxui.api.docs import add_docs
from fluxui.api.generations import Generations
from fluxui.api.grids import Grids
from fluxui.api.images import Images
from fluxui.api.models import Models
from fluxui.api.problems import KINDS, answer_error
from fluxui.api.routes import adder, visiting
from fluxui.studio import Studio


def build_api(studio: Studio) -> FastAPI:
    """All REST calls over one studio, each for the visitor of the scope. `/docs` lists them."""
    studio = studio.serving(visiting)
    api = FastAPI(
        title="fluxui",
        version=__version__,
        description="Generate with your own FLUX LoRAs, and keep every picture.",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        responses={
            "4XX": {"model": Problem, "description": "What was wrong, and the way out"},
            422: {"model": Problem, "description": "A value that can't be; nothing was queued"},
        },
    )
    for part in (Generations, Grids, Images, Models, SystemFacts):
        part(studio).add_to(api)
    add_docs(api)
    for kind in KINDS:
        api.add_exception_handler(kind, answer_error)
    return api


class SystemFacts:
    """`/api/health`, and what answers every other address under `/api/`."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def add_to(self, api: FastAPI) -> None:
        adder(api, "system")("GET", "/api/health", self.get_health)

    def get_health(self) -> Health:
        """Up, with this base model and this queue."""
        return Health.of(self._studio.system())
