"""Every route there is × everybody who may come. The table of the running server is walked, so
that a route which nobody thought of fails here first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.routing import Mount, Route

from fluxui.gate import OPEN_PATHS
from fluxui.server import App
from tests.security.conftest import LOGIN

KNOWN = Path(__file__).parent.parent / "golden" / "routes.txt"


def routes(app: App) -> Iterator[tuple[str, str]]:
    """Method and path of every route of the server."""
    found = list(app.demo.app.routes)
    while found:
        route = found.pop()
        if hasattr(route, "effective_candidates"):  # a router that FastAPI keeps whole
            found += route.effective_candidates()
        elif isinstance(route, Mount):
            yield from mounted(route)
        else:
            for method in sorted(route.methods):
                yield method, route.path


def mounted(mount: Mount) -> Iterator[tuple[str, str]]:
    """Those of an app below a path; one without routes may answer to every method."""
    if not mount.routes:
        yield from ((method, f"{mount.path}/") for method in ("DELETE", "GET", "POST"))
    for route in mount.routes:
        if isinstance(route, Mount):
            inner = mounted(route)
        else:
            assert isinstance(route, Route)
            inner = ((method, route.path) for method in route.methods or ())
        yield from ((method, mount.path + path) for method, path in inner)


def filled(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "x", path)


def test_there_is_no_route_that_nobody_thought_of(live: App) -> None:
    table = sorted({f"{method} {path}" for method, path in routes(live)})
    assert table == KNOWN.read_text().splitlines(), (
        "Is each new route safe behind the gate? Then: python -m tests.golden.write"
    )


def test_a_stranger_gets_nothing(live: App, stranger: httpx.Client) -> None:
    for method, path in routes(live):
        answer = stranger.request(method, filled(path))
        expected = 200 if path in OPEN_PATHS else 401
        assert answer.status_code == expected, (method, path)


def test_a_wrong_login_gets_nothing(live: App) -> None:
    with httpx.Client(base_url=live.url, auth=(LOGIN[0], "wrong")) as client:
        for method, path in routes(live):
            if path not in OPEN_PATHS:
                answer = client.request(method, filled(path))
                assert answer.status_code == 401, (method, path)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_another_site_gets_nothing_with_the_owners_login(
    live: App, owner: httpx.Client, headers: dict[str, str]
) -> None:
    for method, path in routes(live):
        if path not in OPEN_PATHS:
            answer = owner.request(method, filled(path), headers=headers)
            assert answer.status_code == 403, (method, path)


def test_nothing_was_changed_by_all_that(live: App) -> None:
    assert live.studio.pictures.page().total == 0


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/config", "/api/health"])
def test_the_owner_comes_in(owner: httpx.Client, path: str) -> None:
    answer = owner.get(path)
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_preflight_of_another_site_opens_nothing(live: App, stranger: httpx.Client) -> None:
    asked = {"Origin": "https://evil.test", "Access-Control-Request-Method": "DELETE"}
    stranger.options("/api/generate/x", headers=asked)
    answer = stranger.delete("/api/generate/x", headers={"Origin": "https://evil.test"})
    assert answer.status_code == 401


def test_gradio_fetches_no_addresses(owner: httpx.Client) -> None:
    for path in (
        "file=http://example.com/",
        "file=https://example.com/",
        "file/http://example.com",
    ):
        for method in ("GET", "HEAD"):
            assert owner.request(method, f"/gradio_api/{path}").status_code == 403


def test_no_file_of_ours_leaves_through_gradio(live: App, owner: httpx.Client) -> None:
    data = live.settings.data_dir
    for path in (data / "history.json", data, Path("/etc/passwd"), Path(__file__)):
        answer = owner.get(f"/gradio_api/file={path}")
        assert answer.status_code in (403, 404), path


def test_calls_can_not_go_around_the_queue(owner: httpx.Client) -> None:
    answer = owner.post("/gradio_api/run/generate_image", json={"data": ["a boat"]})
    assert answer.status_code == 404
