"""The worker's command: what it refuses, in one sentence each, and one process for each GPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fluxui import crew
from fluxui.cli import main
from fluxui.crew import PatientStorage, lead
from fluxui.doctor import _redis
from fluxui.errors import ConfigurationError, StorageFull, StorageUnavailable
from fluxui.opening import FORGETS, open_studio
from fluxui.queue.role import become_page, page_name
from fluxui.queue.wire import Terms, Wire, terms
from fluxui.settings import Settings
from tests.conftest import FakePipeline
from tests.crews import RedisServer, redis_server
from tests.storage.servers import S3Server, moto

Say = Callable[..., str]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis"), keeps=False) as server:
        yield server


@pytest.fixture
def said(
    redis: RedisServer,
    bucket: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Say:
    """Runs `fluxui worker` or another command here, under a changed environment: what it says."""
    monkeypatch.chdir(tmp_path)
    told = bucket.environment() | {"REDIS_URL": redis.url, "FLUXUI_DATA_DIR": str(tmp_path / "w")}
    for name, value in (told | {"FLUXUI_BASE_MODEL": "tiny"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(crew, "get_pipeline", FakePipeline)

    def run(*arguments: str, **environment: str) -> str:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert main(arguments) == 1
        return capsys.readouterr().err

    return run


@pytest.fixture
def page(redis: RedisServer, bucket: S3Server, tmp_path: Path) -> Iterator[Terms]:
    """A page is at work."""
    wire = Wire(redis.url)
    on = terms(bucket.settings(tmp_path), "tiny")
    wire.stay_page("somebody/1", on)
    yield on
    wire.leave_page("somebody/1")
    wire.close()


def test_a_worker_that_can_not_work_says_why(said: Say, page: Terms) -> None:
    assert "This worker paints with flux1-dev, the page's is tiny." in said(
        "worker", FLUXUI_BASE_MODEL="flux1-dev"
    )
    other = said("worker", FLUXUI_BASE_MODEL="tiny", S3_PREFIX="mine")
    assert "This worker's bucket is" in other and "/pictures/mine, the page's is" in other
    changed = {"S3_PREFIX": "", "FLUXUI_OUTPUT_FORMAT": "webp"}
    assert "This worker writes webp, the page png." in said("worker", **changed)
    assert "must be kept in a bucket" in said("worker", S3_BUCKET_NAME="")
    assert "needs the page's REDIS_URL" in said("worker", REDIS_URL="")


def test_another_version_is_refused(
    said: Say,
    page: Terms,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fluxui.queue.wire.__version__", "0.0.1")
    assert f"This worker is fluxui 0.0.1, and the page is {page.version}." in said("worker")


@pytest.mark.parametrize("command", [("worker",), ("loras", "list")])
def test_redis_has_to_be_there(said: Say, command: tuple[str, ...]) -> None:
    assert "Redis does not answer. Check REDIS_URL" in said(
        *command, REDIS_URL="redis://127.0.0.1:9/0"
    )
    assert "REDIS_URL is not an address" in said(*command, REDIS_URL="over there")


def test_the_page_needs_a_bucket_and_the_packages(
    said: Say,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "must be kept in a bucket" in said("loras", "list", S3_BUCKET_NAME="")
    monkeypatch.setattr("fluxui.opening.find_spec", lambda name: None)
    assert "REDIS_URL needs two more packages. pip install -r requirements-celery.txt" in said(
        "worker", S3_BUCKET_NAME="pictures"
    )


def test_a_second_page_stops_and_a_restarted_one_does_not(
    redis: RedisServer, bucket: S3Server, tmp_path: Path
) -> None:
    on = terms(bucket.settings(tmp_path), "tiny")
    wire = Wire(redis.url)
    become_page(wire, page_name(tmp_path), on)
    became = page_name(tmp_path)
    become_page(wire, became, on)  # its predecessor was killed
    assert wire.page() == (became, on)

    class Refreshed(Wire):
        """The first page goes on beside it."""

        def page_seconds(self) -> float:
            wire.stay_page(became, on)
            return super().page_seconds()

    second = Refreshed(redis.url)
    with pytest.raises(ConfigurationError, match="Another fluxui page uses this Redis"):
        become_page(second, page_name(tmp_path / "elsewhere"), on)
    second.close()
    wire.leave_page(became)
    wire.close()


def test_a_redis_that_forgets_is_named(
    redis: RedisServer, bucket: S3Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings: Settings = bucket.settings(tmp_path, redis_url=redis.url)
    open_studio(settings).close()
    assert FORGETS in caplog.text
    noted = {one.text for one in _redis(settings)}
    assert {f"Redis: {FORGETS}"} < noted
    wire = Wire(redis.url)
    assert wire.page() is None  # it left in order
    wire._redis.config_set("appendonly", "yes")
    assert not wire.forgets()
    (found,) = _redis(settings)
    assert found.kind == "ok"
    (found,) = _redis(settings.model_copy(update={"s3_bucket_name": ""}))
    assert found.stops and "must be kept in a bucket" in found.text
    wire.close()


def test_while_the_bucket_is_away_a_picture_waits() -> None:
    class Away:
        open = url = list = delete = check = None

        def put(self, key: str, data: bytes, content_type: str) -> None:
            raise StorageUnavailable("The bucket does not answer.")

    with pytest.raises(StorageFull, match="The bucket does not answer"):
        PatientStorage(Away()).put("a", b"", "")  # type: ignore[arg-type]


def test_gpus_are_counted_by_the_driver_or_by_cuda(settings: Settings) -> None:
    assert crew._names("0, 2", settings) == ["0", "2"]
    shown = settings.model_copy(update={"visible_gpus": "3,5"})
    assert crew._names("all", shown) == ["3", "5"]


def test_no_gpu_is_a_sentence(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "count_gpus", lambda: 0)
    with pytest.raises(ConfigurationError, match="no CUDA device"):
        lead("all", settings)


LEADER = """
import os, sys, time
if "--gpus" not in sys.argv:
    words = ["one", os.environ["CUDA_VISIBLE_DEVICES"], str(os.getpid()), *sys.argv[1:]]
    os.write(1, b" ".join(map(str.encode, words)) + bytes([10]))
    time.sleep(60)
from fluxui.crew import lead
from fluxui.settings import Settings
sys.exit(lead("0,1", Settings()))
"""


def test_one_worker_for_each_gpu_and_again_if_it_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "leader.py"
    program.write_text(LEADER)
    leader = subprocess.Popen(
        [sys.executable, program, "--gpus", "0,1", "--more"],
        env=os.environ | {"PYTHONPATH": str(Path(crew.__file__).parents[1])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert leader.stdout is not None
    with leader.stdout as output:
        first, second = (output.readline().split() for _ in range(2))
        assert {first[1], second[1]} == {"0", "1"}
        assert first[3:] == second[3:] == ["--more"]
        os.kill(int(first[2]), signal.SIGKILL)
        assert "was killed, and is started again" in output.readline()
        again = output.readline().split()
        assert again[1] == first[1]
        leader.terminate()
        leader.wait(20)
    for line in (second, again):
        assert not Path(f"/proc/{line[2]}").exists()
