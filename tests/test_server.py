from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from starlette.types import Receive, Scope, Send

from fluxui.errors import ConfigurationError, HistoryLocked, PortTaken
from fluxui.gate import Gate
from fluxui.gate.logins import Logins
from fluxui.server import App, check_port
from fluxui.settings import Settings
from tests.live import free_port, serving

ROOT = Path(__file__).parent.parent


@pytest.fixture
def live(settings: Settings) -> Iterator[App]:
    with serving(settings) as app:
        yield app


def test_page_rest_docs_and_client_are_on_one_port(live: App) -> None:
    with httpx.Client(base_url=live.url) as http:
        assert "fluxui" in http.get("/").text
        assert http.get("/docs").status_code == 200
        assert set(http.get("/openapi.json").json()["paths"]) == set(live.api.openapi()["paths"])
        told = http.post("/api/generate/image", json={"prompt": "a boat"}).json()
        with http.stream("GET", f"/api/generate/{told['id']}/events") as events:
            assert "event: end" in events.read().decode()
        done = http.get(f"/api/generate/{told['id']}").json()
        assert http.get(done["output_paths"][0]).content.startswith(b"\x89PNG")
        assert http.get(done["output_paths"][0]).url.host == "127.0.0.1"


def test_gradio_client_gets_pictures(live: App, tmp_path: Path) -> None:
    with contextlib.closing(Client(live.url, verbose=False, download_files=tmp_path)) as client:
        files, record = client.predict(prompt="a boat", seed=7, api_name="/generate_image")
    assert [Path(file).read_bytes()[:4] for file in files] == [b"\x89PNG"]
    assert record["request"]["seed"] == 7
    assert live.studio.get(record["id"]).request.seed == 7


def test_errors_have_our_shape_behind_gradio_too(live: App) -> None:
    with httpx.Client(base_url=live.url) as http:
        assert http.get("/api/nothing").json()["code"] == "not_found"
        assert http.get("/api/generate/x").json()["code"] == "generation_not_found"
        assert http.post("/api/generate/image", json={}).json()["code"] == "invalid_request"
        large = http.post("/api/generate/image", content=b" " * 2_000_000)
        assert (large.status_code, large.json()["code"]) == (413, "too_large")
        assert http.get("/gradio_api/nothing").json() == {"detail": "Not Found"}


def test_a_foreign_name_for_this_machine_gets_nothing(live: App) -> None:
    answer = httpx.get(f"{live.url}/api/generate/", headers={"Host": "evil.test"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_gradio_keeps_its_copies_in_a_folder_that_goes(settings: Settings) -> None:
    with serving(settings) as app:
        assert Path(os.environ["GRADIO_TEMP_DIR"]) == app.temp
        assert app.temp.is_dir()
        left_behind = app.temp.with_name(f"{app.temp.name[:20]}-dead")
        left_behind.mkdir()
    assert not app.temp.exists()
    with serving(settings):
        assert not left_behind.exists()


def test_a_busy_machine_may_take_its_time_for_the_first_page(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Gate.__call__

    async def slowly(gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(4 if scope.get("path") == "/" else 0)
        await answer(gate, scope, receive, send)

    monkeypatch.setattr(Gate, "__call__", slowly)
    with serving(settings) as app:
        assert "fluxui" in httpx.get(app.url, timeout=20).text


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "intranet.test")
    with serving(settings) as app:
        assert "fluxui" in httpx.get(app.url).text
        assert os.environ["no_proxy"].startswith("intranet.test,")


def test_close_frees_the_port_and_the_history(settings: Settings) -> None:
    with serving(settings) as app, pytest.raises(HistoryLocked), serving(settings):
        pass
    check_port("127.0.0.1", app.settings.port)
    with serving(settings):
        pass


def test_a_login_that_was_made_is_printed_and_lets_in(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(settings, host="0.0.0.0") as app:
        assert isinstance(app.logins, Logins)
        password = app.logins.keys[0]
        told = capsys.readouterr().out
        assert password in told and app.logins.guests[0] in told
        url = f"http://127.0.0.1:{app.settings.port}/api/health"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, auth=("fluxui", password)).status_code == 200
        assert httpx.get(url, headers={"Authorization": f"Bearer {password}"}).status_code == 200


def test_gradio_client_comes_in_with_the_header(settings: Settings) -> None:
    with serving(settings, host="0.0.0.0") as app:
        assert app.logins
        key = {"Authorization": f"Bearer {app.logins.keys[0]}"}
        url = f"http://127.0.0.1:{app.settings.port}"
        with contextlib.closing(Client(url, verbose=False, headers=key)) as client:
            assert client.predict(api_name="/list_generations")["total"] == 0


def test_a_port_that_is_taken_is_said_in_one_sentence(settings: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken) as caught:
            check_port("127.0.0.1", port)
        assert str(port) in caught.value.message
        done = run_app(settings, port)
        assert done.wait(30) == 1
        assert done.communicate()[1].splitlines() == [f"fluxui: {caught.value} {caught.value.hint}"]


@pytest.mark.parametrize(("host", "port"), [("203.0.113.1", 7860), ("127.0.0.1", 99999)])
def test_a_place_where_nobody_can_listen(host: str, port: int) -> None:
    with pytest.raises(ConfigurationError):
        check_port(host, port)


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_clean(settings: Settings, kind: signal.Signals) -> None:
    port = free_port()
    process = run_app(settings, port)
    wait_for_page(process, port)
    process.send_signal(kind)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert f"fluxui is ready: http://127.0.0.1:{port}" in out
    with serving(settings):  # the history was let go
        pass


def test_the_page_is_up_before_torch(settings: Settings) -> None:
    code = (
        "import sys, fluxui.server as server\n"
        "server.WARM_UP_SECONDS = 3600\n"
        "from app import main\n"
        f"app = main(block=False, port={free_port()})\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'boto3'} & set(sys.modules)\n"
        "app.close()\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(settings), capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()


def run_app(settings: Settings, port: int) -> subprocess.Popen[str]:
    """`python app.py`, as people start it."""
    return subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)],
        cwd=ROOT,
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def environment(settings: Settings) -> dict[str, Any]:
    ours = {"FLUXUI_DATA_DIR": str(settings.data_dir), "FLUXUI_BASE_MODEL": "tiny"}
    return {**os.environ, **ours}


def wait_for_page(process: subprocess.Popen[str], port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{port}/").status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError(f"no page: {process.communicate()}")
