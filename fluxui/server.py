"""The house: one port for the page, the REST API and `/docs`, one gate before them.

Everything is hosted by Gradio's `launch`, because only that gives a share link. It starts, it
stops, it says where; what happens at the doors is theirs.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fluxui.api import build_api
from fluxui.errors import ConfigurationError, Forbidden, PortTaken
from fluxui.gate import VISITOR_COOKIE, Gate, choose_hosts
from fluxui.gate.cookies import Signer, read_key
from fluxui.gate.login import LoginPage
from fluxui.gate.logins import choose_logins
from fluxui.gate.oauth import choose_accounts
from fluxui.gate.proxy import ProxyHeaders, choose_trusted
from fluxui.opening import open_studio
from fluxui.settings import Settings, asked_directly
from fluxui.studio import Studio

MAX_THREADS = 200  # each tab that watches a generation holds one
MAX_EVENTS = 256  # clicks that wait; our own queue bounds the generations
CLOSING_SECONDS = 1
MCP_HINT = "pip install -r requirements-mcp.txt"
FAREWELL_SECONDS = 0.5  # so that whoever watches is told
WARM_UP_SECONDS = 0.5  # so that importing torch does not hold up the first page


class App:
    """A studio with its doors, ready to `launch`. `demo` is the Blocks, `api` the FastAPI."""

    def __init__(self, settings: Settings, studio: Studio) -> None:
        self.settings = settings
        self.studio = studio
        self.logins = choose_logins(settings)
        self.temp = _own_temp_folder(settings.data_dir)
        self.api = build_api(studio)
        self.demo = _build_page(studio, self.temp)
        self._warm_up = threading.Timer(WARM_UP_SECONDS, studio.warm_up)
        self._warm_up.daemon = True

    @property
    def url(self) -> str:
        """Where people open it: the share link if there is one. After `launch`."""
        return str(self.demo.share_url or self.demo.local_url).rstrip("/")

    def launch(self) -> None:
        """Serve, say where, and load the base model behind the page. Raises PortTaken."""
        from fluxui.ui import LAUNCH

        check_port(self.settings.host, self.settings.port)
        if self.settings.mcp and not find_spec("mcp"):
            raise ConfigurationError("FLUXUI_MCP needs one more package.", MCP_HINT)
        # Gradio asks its own server whether it answers, and a proxy can't.
        if direct := asked_directly(self.settings.host):
            os.environ["no_proxy"] = direct
        try:
            self.demo.launch(**self._hosting(), **LAUNCH)
        except OSError as error:
            if "empty port" not in str(error):
                raise
            raise port_taken(self.settings.port) from None  # taken since we looked
        if self.settings.mcp:
            self._keep_tools_inside()
        # Open streams end with the server, not the other way round.
        self.demo.server.config.timeout_graceful_shutdown = CLOSING_SECONDS
        print(self.greeting(), flush=True)
        self._warm_up.start()

    def _keep_tools_inside(self) -> None:
        """MCP keeps the tools that answer at once. The others come back to this port as a client
        that brings nobody's login. Raises ConfigurationError."""
        server = self.demo.mcp_server_obj
        if server is None:
            raise ConfigurationError(f"MCP did not start. {self.demo.mcp_error}", MCP_HINT)
        queued = {f"/{fn.api_name}" for fn in self.demo.fns.values() if fn.queue}
        server.tool_to_endpoint = {
            tool: endpoint
            for tool, endpoint in server.tool_to_endpoint.items()
            if endpoint not in queued
        }

    def _hosting(self) -> dict[str, Any]:
        from starlette.middleware import Middleware
        from starlette.routing import Route

        from fluxui.ui.caller import Caller

        settings = self.settings
        shared = self.logins or settings.public or settings.in_space
        key = read_key(settings.data_dir)
        accounts = choose_accounts(settings, key)
        gate = Middleware(
            Gate,
            logins=self.logins,
            hosts=choose_hosts(settings),
            root_path=settings.root_path,
            cookies=Signer(key, VISITOR_COOKIE) if shared else None,
            page=self._login_page(key),
            framed=settings.in_space,
            accounts=accounts,
        )
        proxies = Middleware(ProxyHeaders, trusted=choose_trusted(settings))
        callers = [Middleware(Caller, page=self.demo)] if settings.zero_gpu else []
        # Gradio would fetch any public URL for anybody; the first routes shut that.
        no_proxy = [
            Route(f"/gradio_api/file{sign}http{{rest:path}}", _no_proxy, methods=["GET", "HEAD"])
            for sign in "=/"
        ]
        return {
            "server_name": f"[{settings.host}]" if ":" in settings.host else settings.host,
            "server_port": settings.port,
            "root_path": settings.root_path,
            "share": settings.share and not settings.in_space,
            "prevent_thread_lock": True,
            # Gradio asks whether the server answers, which it may do slowly. Then it asks for the
            # page too, and takes more than three seconds for a machine without a localhost.
            "_frontend": False,
            "quiet": True,
            "max_threads": MAX_THREADS,
            "max_file_size": settings.max_upload_mib * 2**20,
            "run_history": False,
            "enable_monitoring": False,
            "ssr_mode": False,
            "mcp_server": settings.mcp,
            "blocked_paths": [str(settings.data_dir)],
            "app_kwargs": {
                "routes": [*no_proxy, *(accounts.routes() if accounts else ()), *self.api.routes],
                "openapi_url": None,
                "exception_handlers": dict(self.api.exception_handlers),
                "middleware": [proxies, gate, *callers],
            },
        }

    def _login_page(self, key: bytes) -> LoginPage | None:
        settings = self.settings
        if self.logins is None:
            return None
        return LoginPage(self.logins, key, settings.root_path, settings.in_space)

    def greeting(self) -> str:
        """What the terminal says: the address, what paints, and the login if one was made."""
        lines = [f"fluxui is ready: {self.url}", self.studio.base_model.reason]
        if self.logins and not (self.settings.auth or self.settings.api_key):
            user, _, password = self.logins.users[0].partition(":")
            lines.append(f"Log in as {user} with the password {password}")
            lines.append(f"For guests, who see only their own: {self.logins.guests[0]}")
        return "\n".join(line for line in lines if line)

    def close(self) -> None:
        """Say so, stop serving, let the running step end, and leave nothing behind."""
        # Whoever still watches is cut off after a second, which uvicorn takes for an error.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._warm_up.cancel()
        if self.studio.leave():
            time.sleep(FAREWELL_SECONDS)
        self.demo.close(verbose=False)
        self.studio.close()
        shutil.rmtree(self.temp, ignore_errors=True)


def create_app(settings: Settings) -> App:
    """Everything but the port. Raises ConfigurationError, StorageRefused, HistoryLocked."""
    return App(settings, open_studio(settings))


def serve(settings: Settings, block: bool = True) -> App:
    """Serve until SIGTERM or Ctrl+C; with `block=False` return once the page is up."""
    stop = threading.Event()
    if block:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stop.set())
    check_port(settings.host, settings.port)
    with ExitStack() as closing:
        app = create_app(settings)
        closing.callback(app.close)
        app.launch()
        if not block:
            closing.pop_all()
            return app
        stop.wait()
    return app


def check_port(host: str, port: int) -> None:
    """Raises PortTaken, and ConfigurationError for a host that this machine is not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                raise port_taken(port) from None
            raise ConfigurationError(
                f"fluxui can't listen on {host}, port {port}: {error}.",
                "Choose others: python app.py --host 127.0.0.1 --port 7860",
            ) from None


def port_taken(port: int) -> PortTaken:
    return PortTaken(f"Port {port} is taken by another program.")


def _own_temp_folder(data_dir: Path) -> Path:
    """A new folder for Gradio's copies. What an earlier process of this data folder left there
    goes now: the history's lock says that it is dead."""
    name = hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]
    for old in Path(tempfile.gettempdir()).glob(f"fluxui-{name}-*"):
        shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"fluxui-{name}-"))


def _build_page(studio: Studio, temp: Path) -> Any:
    """The Blocks, with Gradio told its place before it is imported."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(temp)
    from fluxui.ui import build_ui

    demo = build_ui(studio)
    demo.queue(max_size=MAX_EVENTS, api_open=False, default_concurrency_limit=MAX_THREADS)
    return demo


async def _no_proxy(request: Any) -> Any:
    raise Forbidden("fluxui fetches no addresses for its visitors.")
