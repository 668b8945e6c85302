"""`/docs` with all that it needs on board, so that it opens without a network.

It knows no call of the API: the page reads them from `openapi.json`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

SWAGGER = Path(__file__).parent.parent / "assets" / "swagger"
SCRIPT, STYLE = "swagger-ui-bundle.js", "swagger-ui.css"


def add_docs(api: FastAPI) -> None:
    """Serve the page and its two files. Paths are relative, for proxies with a prefix."""
    hidden: dict[str, Any] = {"methods": ["GET"], "include_in_schema": False}
    api.add_api_route("/docs", _page, **hidden)
    api.add_api_route(f"/docs/{SCRIPT}", _script, **hidden)
    api.add_api_route(f"/docs/{STYLE}", _style, **hidden)


def _page() -> HTMLResponse:
    """Every call of the REST API, to read and to try."""
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="fluxui · REST",
        swagger_js_url=f"docs/{SCRIPT}",
        swagger_css_url=f"docs/{STYLE}",
        swagger_favicon_url="data:,",
    )


def _script() -> FileResponse:
    return FileResponse(SWAGGER / SCRIPT)


def _style() -> FileResponse:
    return FileResponse(SWAGGER / STYLE)
