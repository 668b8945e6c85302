"""`python -m fluxui space`, against a Hub that is small but speaks HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.utils import disable_progress_bars

from fluxui import cli, space
from fluxui.settings import Settings, variables
from tests.hub import Hub, Space, open_hub

SECRETS = {
    "HF_TOKEN": "hf_reads",
    "FLUXUI_DEPLOY_TOKEN": "hf_writes",
    "AWS_ACCESS_KEY_ID": "AKIA-not-for-eyes",
    "AWS_SECRET_ACCESS_KEY": "aws-secret-not-for-eyes",
    "FLUXUI_AUTH": "ann:password-not-for-eyes",
}


@pytest.fixture
def hub(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """With a small tree to upload, and an environment in which everything is set."""
    with open_hub() as hub:
        tree(tmp_path / "code")
        monkeypatch.setattr(space, "ROOT", tmp_path / "code")
        monkeypatch.setattr(space, "POLL_SECONDS", 0.01)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
        for name in variables().values():
            monkeypatch.delenv(name, raising=False)
        for name, value in {**SECRETS, "S3_BUCKET_NAME": "pictures"}.items():
            monkeypatch.setenv(name, value)
        disable_progress_bars()
        yield hub


def tree(root: Path) -> None:
    """Small, and with what must never leave the machine."""
    here = Path(__file__).parent.parent
    for folder in space.FOLDERS:
        (root / folder / "__pycache__").mkdir(parents=True)
        (root / folder / "__pycache__" / "x.pyc").touch()
        (root / folder / ".env").write_text("HF_TOKEN=hf_writes")
        (root / folder / "space.py").write_text("# small\n")
    for name in space.FILES:
        (root / name).write_bytes((here / name).read_bytes())
    (root / ".env").write_text("HF_TOKEN=hf_writes")


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr; neither holds a secret, whatever happened."""
    code = cli.main(["space", *arguments])
    out, err = capsys.readouterr()
    for secret in SECRETS.values():
        assert secret not in out + err
    return code, out, err


def test_deploy_makes_all_of_it(hub: Hub, capsys: Any) -> None:
    code, out, _ = run(capsys, "deploy", "ann/fluxui", "--hardware", "a100-large")
    assert (code, out) == (0, f"{hub.url}/spaces/ann/fluxui\n")
    made = hub.spaces["ann/fluxui"]
    assert made.made["visibility"] == "private"
    assert made.made["sdk"] == "gradio"
    assert made.made["sleepTimeSeconds"] == 3600
    assert made.hardware == "a100-large"
    assert made.secrets == {
        name: value for name, value in SECRETS.items() if name != "FLUXUI_DEPLOY_TOKEN"
    }
    assert made.variables == {"S3_BUCKET_NAME": "pictures"}
    source = "ann/fluxui-pictures"
    assert made.volumes == [{"type": "bucket", "source": source, "mountPath": "/data"}]
    assert hub.buckets == {source: {"visibility": "private"}}


def test_deploy_uploads_what_a_space_needs_and_nothing_else(hub: Hub, capsys: Any) -> None:
    run(capsys, "deploy", "ann/fluxui")
    files = hub.spaces["ann/fluxui"].files
    expected = {*space.FILES, *(f"{folder}/space.py" for folder in space.FOLDERS)}
    assert set(files) == {".gitattributes", *expected}
    assert files["README.md"] == (space.ROOT / "README.md").read_bytes()
    assert files["requirements.txt"] == (space.ROOT / "requirements.txt").read_bytes()


def test_zero_gpu_gets_the_torch_that_it_has(hub: Hub, capsys: Any) -> None:
    run(capsys, "deploy", "ann/fluxui", "--hardware", "zero-a10g")
    made = hub.spaces["ann/fluxui"]
    assert "sleepTimeSeconds" not in made.made
    lines = made.files["requirements.txt"].decode().splitlines()
    assert [line for line in lines if line.startswith("torch")] == ["torch>=2.8,<2.12"]
    assert "suggested_hardware: zero-a10g" in made.files["README.md"].decode()


def test_deploy_again_renews_it(hub: Hub, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run(capsys, "deploy", "ann/fluxui")
    made = hub.spaces["ann/fluxui"]
    made.files["fluxui/gone.py"] = b"of an older fluxui"
    made.files["mine.txt"] = b"somebody's own"
    made.secrets["OTHER"] = "somebody's own"
    monkeypatch.setenv("S3_BUCKET_NAME", "others")
    code, _, err = run(capsys, "deploy", "ann/fluxui", "--hardware", "l40sx1")
    assert code == 0
    assert "Renewing" in err
    assert made.hardware == "l40sx1"
    assert made.variables["S3_BUCKET_NAME"] == "others"
    assert made.secrets["OTHER"] == "somebody's own"
    assert "mine.txt" in made.files
    assert "fluxui/gone.py" not in made.files


def test_a_dry_run_says_it_and_asks_nobody(hub: Hub, capsys: Any) -> None:
    code, out, _ = run(capsys, "deploy", "ann/fluxui", "--dry-run")
    assert code == 0
    assert hub.asked == []
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines == [
        "Space ann/fluxui, private",
        "hardware a100-large, asleep after 3600 s",
        *(f"secret {name}" for name in SECRETS if name != "FLUXUI_DEPLOY_TOKEN"),
        "variable S3_BUCKET_NAME=pictures",
        "volume ann/fluxui-pictures at /data",
        f"files {', '.join(space.FILES)}, fluxui/, docs/",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["deploy", "fluxui"], "is not user/name"),
        (["deploy", "ann/flux ui"], "can't be a Space's name"),
        (["deploy", "ann/fluxui", "--hardware", "h9000"], "There is no hardware 'h9000'"),
        (["deploy", "ann/fluxui", "--hardware", "a100x8"], "can't have that hardware"),
        (["deploy", "bob/fluxui"], "must be of bob"),
        (["deploy", "ann/other"], "which is not fluxui"),
        (["delete", "ann/other", "--yes"], "which is not fluxui"),
        (["status", "ann/nothing"], "There is no Space ann/nothing"),
        (["logs", "ann/nothing"], "There is no Space ann/nothing"),
    ],
)
def test_a_refusal_is_one_sentence(hub: Hub, capsys: Any, arguments: list[str], said: str) -> None:
    other = hub.spaces["ann/other"] = Space({}, {"app.py": b"print()", "README.md": b""})
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (1, "")
    assert said in err.splitlines()[-1]
    assert hub.spaces == {"ann/other": other}
    assert set(other.files) == {"app.py", "README.md"}


def test_a_wrong_token(hub: Hub, capsys: Any) -> None:
    del hub.roles["hf_writes"]
    code, _, err = run(capsys, "deploy", "ann/fluxui")
    assert code == 1
    assert "does not know this token" in err
    assert hub.buckets == {}


def test_no_token(hub: Hub, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUXUI_DEPLOY_TOKEN")
    monkeypatch.delenv("HF_TOKEN")
    assert "There is no Hugging Face token" in run(capsys, "deploy", "ann/fluxui")[2]


def test_a_token_that_only_reads(hub: Hub, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLUXUI_DEPLOY_TOKEN")
    code, _, err = run(capsys, "deploy", "ann/fluxui")
    assert code == 1
    assert "able to write" in err


def test_a_token_that_writes_stays_here(
    hub: Hub, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_writes")
    code, _, err = run(capsys, "deploy", "ann/fluxui")
    assert code == 1
    assert "FLUXUI_DEPLOY_TOKEN" in err
    assert hub.spaces == {}


def test_a_failed_build_shows_the_end_of_its_log(hub: Hub, capsys: Any) -> None:
    hub.stages = ["BUILDING", "BUILD_ERROR"]
    hub.logs["build"] = [f"line {number}" for number in range(100)] + [SECRETS["FLUXUI_AUTH"]]
    code, out, err = run(capsys, "deploy", "ann/fluxui")
    assert (code, out) == (1, "")
    shown = [line.strip() for line in err.splitlines() if line.startswith("    ")]
    assert shown == [*(f"line {number}" for number in range(71, 100)), "…"]
    assert "does not run: BUILD_ERROR" in err
    assert "python -m fluxui space logs ann/fluxui --build" in err


def test_a_crash_at_the_start_shows_the_other_log(hub: Hub, capsys: Any) -> None:
    hub.stages = ["BUILDING", "APP_STARTING", "RUNTIME_ERROR"]
    hub.logs["run"] = ["Traceback"]
    assert "    Traceback\n" in run(capsys, "deploy", "ann/fluxui")[2]


def test_status_and_logs(hub: Hub, capsys: Any) -> None:
    run(capsys, "deploy", "ann/fluxui")
    hub.logs |= {"run": ["fluxui is ready"], "build": ["Collecting gradio"]}
    _, out, _ = run(capsys, "status", "ann/fluxui")
    assert "RUNNING" in out
    assert "a100-large" in out
    assert run(capsys, "logs", "ann/fluxui")[1] == "fluxui is ready\n"
    assert run(capsys, "logs", "ann/fluxui", "--build")[1] == "Collecting gradio\n"


@pytest.mark.parametrize(("typed", "left"), [("ann/fluxui\n", 0), ("no\n", 1), ("", 1)])
def test_delete_asks_first(hub: Hub, monkeypatch: Any, capsys: Any, typed: str, left: int) -> None:
    run(capsys, "deploy", "ann/fluxui")
    read = iter([typed])
    monkeypatch.setattr(sys, "stdin", type("Typed", (), {"readline": lambda _: next(read)})())
    assert run(capsys, "delete", "ann/fluxui")[0] == left
    assert len(hub.spaces) == left
    assert list(hub.buckets) == ["ann/fluxui-pictures"]


def test_no_network_is_one_sentence(hub: Hub, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert "could not be reached" in run(capsys, "status", "ann/fluxui")[2]


def test_it_asks_the_hub_of_the_environment(hub: Hub, tmp_path: Path) -> None:
    """As people run it: a process of its own, HF_ENDPOINT, and settings in .env."""
    run = subprocess.run(
        [sys.executable, "-m", "fluxui", "space", "delete", "ann/nothing", "--yes"],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "HF_ENDPOINT": hub.url},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "There is no Space ann/nothing" in run.stderr
    assert "hf_writes" not in run.stderr
    assert hub.asked
