"""A real Redis, and workers in processes of their own, for the page of a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError, ResponseError

from fluxui.settings import Settings
from tests.storage.servers import S3Server, free_ports

ROOT = Path(__file__).parent.parent
START_SECONDS = 60


class RedisServer:
    """Debian's redis-server on a port that was free; with `keeps` its restart loses nothing."""

    def __init__(self, folder: Path, keeps: bool = True) -> None:
        program = shutil.which("redis-server")
        if program is None:
            if os.environ.get("CI"):
                pytest.fail("redis-server is not installed")
            pytest.skip("redis-server is not installed")
        (self.port,) = free_ports(1)
        self.url = f"redis://127.0.0.1:{self.port}/0"
        kept = ["--appendonly", "yes"] if keeps else []
        self._command = [program, "--port", str(self.port), "--dir", str(folder), "--save", ""]
        self._command += [*kept, "--bind", "127.0.0.1"]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + START_SECONDS
        with Redis(port=self.port) as client:
            while not self._answers(client):
                assert time.monotonic() < until, "redis-server did not start"
                time.sleep(0.05)

    @property
    def pid(self) -> int:
        return self._process.pid

    def _answers(self, client: Any) -> bool:
        with suppress(ConnectionError, ResponseError):
            return bool(client.ping())
        return False

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def redis_server(folder: Path, keeps: bool = True) -> Iterator[RedisServer]:
    folder.mkdir(exist_ok=True)
    server = RedisServer(folder, keeps)
    try:
        yield server
    finally:
        server.stop()


def crew_settings(redis: RedisServer, bucket: S3Server, data_dir: Path, **changes: Any) -> Settings:
    """A page whose work is done by workers."""
    return bucket.settings(data_dir, redis_url=redis.url, **changes)


class Crew:
    """Workers that a test starts, and may kill. Their words are in `log`."""

    def __init__(self, redis: RedisServer, bucket: S3Server, folder: Path) -> None:
        self.log = folder / "workers.log"
        self._folder = folder
        self.environment = bucket.environment() | {
            "REDIS_URL": redis.url,
            "FLUXUI_BASE_MODEL": "tiny",
            "FLUXUI_DATA_DIR": str(folder / "crew"),
            "PYTHONPATH": str(ROOT),
        }
        self.processes: list[subprocess.Popen[bytes]] = []

    def hire(
        self, *flags: str, module: str = "fluxui", **environment: str
    ) -> subprocess.Popen[bytes]:
        """One more: the real program, or a module of the tests that pretends to paint."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, "worker", *flags],
                cwd=self._folder,
                env=os.environ | self.environment | environment,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@contextmanager
def crew(redis: RedisServer, bucket: S3Server, folder: Path) -> Iterator[Crew]:
    hired = Crew(redis, bucket, folder)
    try:
        yield hired
    finally:
        hired.close()
