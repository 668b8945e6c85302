"""Dockerfile and compose.yaml: linted, true to the code, and the bucket's command run for real.

No image is built here.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from fluxui.cli import _parser
from fluxui.errors import RedisUnavailable
from fluxui.queue.wire import Wire
from fluxui.settings import variables
from fluxui.storage.s3 import S3Storage
from tests.storage.servers import S3Server, free_ports, running, wait_for_bucket, weed

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
KEYS = {"AWS_ACCESS_KEY_ID": "fluxui", "AWS_SECRET_ACCESS_KEY": "a-long-secret"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    services: dict[str, Any] = loaded["services"]
    return services


@pytest.fixture(scope="module")
def more_services() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "compose.workers.yaml").read_text(encoding="utf-8"))
    services: dict[str, Any] = loaded["services"]
    return services


def test_the_linter_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    run = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "")


def test_what_it_copies_is_there_and_let_in() -> None:
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert let_in[0] == "*"
    for names in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE):
        for name in names.split():
            assert (ROOT / name).exists()
            assert f"!{name}" in let_in
    assert "!.env" not in let_in


def test_it_runs_as_nobody_special_on_a_python_that_we_support() -> None:
    assert re.search(r"^FROM python:3\.12-slim", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^USER 1000$", DOCKERFILE, re.MULTILINE)
    set_here = set(re.findall(r"(FLUXUI_\w+)=", DOCKERFILE))
    assert set_here <= set(variables().values())


def test_compose_sets_what_settings_read(services: dict[str, Any]) -> None:
    assert set(services["page"]["environment"]) <= set(variables().values())
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_workers_have_what_the_page_has(
    services: dict[str, Any], more_services: dict[str, Any]
) -> None:
    page = services["page"]["environment"] | more_services["page"]["environment"]
    workers = more_services["workers"]
    assert workers["environment"].items() <= page.items()
    assert {"REDIS_URL", "S3_BUCKET_NAME", "AWS_SECRET_ACCESS_KEY"} <= set(workers["environment"])
    assert set(workers["environment"]) <= set(variables().values())
    given = _parser().parse_args(workers["command"][3:])
    assert (given.command, given.gpus) == ("worker", "all")
    # Redis has no password: nobody outside may come to it.
    assert not any("ports" in service for service in more_services.values())


def test_redis_keeps_what_it_was_told(more_services: dict[str, Any], tmp_path: Path) -> None:
    """The same command, on a port that is free."""
    told = shlex.split(more_services["redis"]["command"])
    (port,) = free_ports(1)
    if shutil.which(told[0]) is None:
        pytest.skip("redis-server is not installed")
    more = ["--port", str(port), "--dir", str(tmp_path)]
    with running([*told, *more], dict(os.environ), tmp_path):
        wire = Wire(f"redis://127.0.0.1:{port}/0")
        until = time.monotonic() + 20
        while True:
            with suppress(RedisUnavailable):
                wire.check()
                break
            assert time.monotonic() < until
            time.sleep(0.05)
        assert not wire.forgets()
        wire.close()


def test_no_secret_stands_in_it(services: dict[str, Any], more_services: dict[str, Any]) -> None:
    for service in [*services.values(), *more_services.values()]:
        for name, value in service.get("environment", {}).items():
            if re.search("KEY|SECRET|TOKEN|AUTH", name):
                assert value is None or value.startswith("${"), name


def test_page_and_browser_know_the_bucket_by_one_name(services: dict[str, Any]) -> None:
    endpoint = services["page"]["environment"]["S3_ENDPOINT_URL"]
    host, port = endpoint.removeprefix("http://").split(":")
    assert services["s3"]["networks"]["default"]["aliases"] == [host]
    assert host.endswith(".localhost")
    assert services["s3"]["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_the_command_of_the_bucket_makes_one(services: dict[str, Any], tmp_path: Path) -> None:
    """The same program, told the same, on ports that are free."""
    program = weed()
    assert program
    told = services["s3"]["command"].replace("/data", str(tmp_path))
    parts = ("s3", "master", "volume", "filer", "admin")
    ports = dict(zip(parts, free_ports(len(parts)), strict=True))
    more = [f"-{part}.port={port}" for part, port in ports.items()]
    more += ["-ip=127.0.0.1", "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false"]
    bucket = services["page"]["environment"]["S3_BUCKET_NAME"]
    server = S3Server(f"http://127.0.0.1:{ports['s3']}", *KEYS.values(), bucket)
    with running([program, *shlex.split(told), *more], os.environ | KEYS, tmp_path):
        wait_for_bucket(server)
        S3Storage(server.settings(tmp_path / "fluxui")).check()
