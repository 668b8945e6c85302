"""MCP inside the gate, with the client of the protocol's own package, over real HTTP."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from pydantic import SecretStr

from fluxui.errors import ConfigurationError
from fluxui.server import App
from fluxui.settings import Settings
from tests.conftest import wait
from tests.live import serving
from tests.security.test_gate_matrix import KNOWN, filled, routes
from tests.security.test_visitors import login

TOOLS = {
    *("submit_generation", "get_generation", "list_generations", "cancel_generation"),
    *("delete_generation", "list_models", "get_model", "delete_model"),
}
ROUTES = {
    "GET /gradio_api/mcp/schema",
    "HEAD /gradio_api/mcp/schema",
    "GET /gradio_api/mcp/sse",
    "HEAD /gradio_api/mcp/sse",
    *(f"{method} /gradio_api/mcp/messages/" for method in ("DELETE", "GET", "POST")),
    *(f"{method} /gradio_api/mcp/" for method in ("DELETE", "GET", "POST")),
}
pytestmark = pytest.mark.filterwarnings("ignore:Use `streamable_http_client`")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    folder = tmp_path_factory.mktemp("fluxui")
    auth = SecretStr("ann:a,bob:b,carl:c")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fluxui.gate.WRONG_SECONDS", 0)
        with serving(Settings(data_dir=folder, base_model="tiny", auth=auth, mcp=True)) as app:
            yield app


def call(app: App, name: str, tool: str = "", **arguments: Any) -> Any:
    """What a tool answers to this visitor, as Gradio writes it, or its error as a string; the
    names of all tools if none is named."""

    async def ask() -> Any:
        url = f"{app.url}/gradio_api/mcp/"
        async with (
            streamablehttp_client(url, headers=login(name)) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            if not tool:
                return {one.name for one in (await session.list_tools()).tools}
            told = await session.call_tool(tool, arguments)
        text = told.content[0].text  # type: ignore[union-attr]
        return text if told.isError else ast.literal_eval(text)

    return asyncio.run(ask())


def test_the_tools_are_the_endpoints_that_answer_at_once(app: App) -> None:
    assert call(app, "bob") == TOOLS
    assert "Unknown tool" in call(app, "bob", "generate_image", prompt="a boat")


def test_a_picture_by_tools_and_nobody_elses(app: App) -> None:
    made = call(app, "bob", "submit_generation", prompt="a secret plan", num_inference_steps=1)
    wait(app.studio, made["id"])
    assert app.studio.get(made["id"]).visitor == "user:bob"
    done = call(app, "bob", "get_generation", job_id=made["id"])
    assert done["status"] == "completed" and len(done["output_paths"]) == 1
    assert call(app, "ann", "list_generations")["total"] == 1
    assert call(app, "carl", "list_generations")["total"] == 0
    for tool in ("get_generation", "cancel_generation", "delete_generation"):
        assert "There is no generation" in call(app, "carl", tool, job_id=made["id"])
    assert "Only the owner" in call(app, "carl", "delete_model", model_id="pixel-art")
    assert call(app, "bob", "delete_generation", job_id=made["id"])["deleted"]


def test_every_route_is_known_and_behind_the_gate(app: App) -> None:
    table = {f"{method} {path}" for method, path in routes(app)}
    assert table - set(KNOWN.read_text().splitlines()) == ROUTES
    for method, path in (line.split() for line in sorted(ROUTES)):
        url = f"{app.url}{filled(path)}"
        assert httpx.request(method, url).status_code == 401, (method, path)
        assert httpx.request(method, url, auth=("bob", "wrong")).status_code == 401, (method, path)
        foreign = httpx.request(
            method, url, auth=("bob", "b"), headers={"Origin": "https://evil.test"}
        )
        assert foreign.status_code == 403, (method, path)


def test_it_is_off_unless_asked_for(settings: Settings) -> None:
    with serving(settings) as app:
        assert httpx.post(f"{app.url}/gradio_api/mcp/", json={}).status_code == 404


def test_without_its_package_it_is_said_what_to_install(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxui.server.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="one more package"), serving(settings, mcp=True):
        pass
