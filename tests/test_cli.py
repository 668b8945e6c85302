from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fluxui import cli
from fluxui.settings import Settings
from fluxui.studio import Studio
from tests.conftest import FakePipeline, make_studio, paint
from tests.lora_files import fitting_lora, stranger_lora, write

ROOT = Path(__file__).parent.parent


@pytest.fixture
def run(settings: Settings, pipeline: FakePipeline, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a command in this process over a studio whose pipeline is fake; its exit code."""
    monkeypatch.setattr(cli, "open_studio", lambda settings: make_studio(settings, pipeline))

    def run(*arguments: str) -> int:
        return cli.main([*arguments, "--data-dir", str(settings.data_dir), "--base-model", "tiny"])

    return run


def test_generate_writes_the_picture(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.png"
    assert run("generate", "a boat", "-o", str(out), "--steps", "2", "--seed", "7") == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"{out}\n"


def test_generate_writes_every_picture(run: Any, tmp_path: Path) -> None:
    assert run("generate", "a boat", "-o", str(tmp_path / "out.png"), "--images", "3") == 0
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    assert names == ["out_1.png", "out_2.png", "out_3.png"]
    assert len({path.read_bytes() for path in tmp_path.glob("*.png")}) == 3


def test_the_name_of_the_file_says_its_format(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLUXUI_OUTPUT_FORMAT", "webp")
    monkeypatch.setattr(cli, "open_studio", lambda asked: make_studio(asked, FakePipeline(asked)))
    folder = ("--data-dir", str(settings.data_dir), "--base-model", "tiny", "--steps", "1")
    assert cli.main(["generate", "a boat", "-o", "out.JPEG", *folder]) == 0
    assert cli.main(["generate", "a boat", "--seed", "7", *folder]) == 0
    assert (tmp_path / "out.JPEG").read_bytes().startswith(b"\xff\xd8")
    assert (tmp_path / "fluxui_7.webp").read_bytes().startswith(b"RIFF")


def test_generate_without_a_name_uses_the_seed(run: Any, tmp_path: Path) -> None:
    assert run("generate", "a boat", "--seed", "7") == 0
    assert (tmp_path / "fluxui_7.png").is_file()  # the tests stand in tmp_path


def test_generate_with_loras(
    run: Any, tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path, fitting_lora(settings))
    for name in ("me/dog", "cat"):
        assert run("loras", "import", str(file), "--id", name) == 0
    plain, loras = tmp_path / "plain.png", tmp_path / "loras.png"
    flags = ["--lora", "me/dog:0.7", "--lora", "cat"]
    assert run("generate", "a boat", "--seed", "7", "-o", str(plain)) == 0
    assert run("generate", "a boat", "--seed", "7", "-o", str(loras), *flags) == 0
    assert plain.read_bytes() != loras.read_bytes()
    capsys.readouterr()
    run("history", "list", "--limit", "1")
    job_id = capsys.readouterr().out.split()[0]
    run("history", "show", job_id)
    asked = json.loads(capsys.readouterr().out)["request"]["loras"]
    assert asked == [{"model_id": "me/dog", "weight": 0.7}, {"model_id": "cat", "weight": 0.8}]


@pytest.mark.parametrize(
    "flags",
    [
        ["generate", ""],
        ["generate", "a boat", "--width", "100"],
        ["generate", "a boat", "--steps", "0"],
        ["generate", "a boat", "--guidance", "nan"],
        ["generate", "a boat", "--images", "5"],
        ["generate", "a boat", "--seed", str(2**64)],
        ["generate", "a boat", "--lora", "x:heavy"],
        ["generate", "a boat", "--lora", "x:3"],
        ["generate", "a boat", "--lora", "nobody"],
        ["generate", "a boat", "-o", "no/such/folder/out.png"],
        ["generate", "a boat", "-o", "out.gif"],
        ["loras", "show", "nobody"],
        ["loras", "remove", "nobody"],
        ["loras", "import", "nothing.safetensors"],
        ["history", "show", "nobody"],
        ["history", "list", "--limit", "0"],
    ],
)
def test_a_mistake_is_one_line(
    run: Any, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*flags) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("fluxui: ")
    assert told.err.count("\n") == 1
    assert run("history", "list") == 0
    assert capsys.readouterr().out == ""  # nothing was queued


def test_a_lora_of_another_family(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("loras", "import", str(write(tmp_path, stranger_lora()))) == 1
    assert capsys.readouterr().err.startswith("fluxui: ")


def test_loras(
    run: Any, tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--id", "me/dog", "--name", "Dog", "--trigger-words", "a, b"]
    assert run("loras", "import", str(write(tmp_path, fitting_lora(settings))), *flags) == 0
    shown = capsys.readouterr().out
    assert run("loras", "show", "me/dog") == 0
    assert capsys.readouterr().out == shown
    assert "a, b" in shown
    assert run("loras", "list") == 0
    assert "me/dog " in capsys.readouterr().out
    assert run("loras", "remove", "me/dog") == 0
    capsys.readouterr()
    run("loras", "list")
    assert "me/dog " not in capsys.readouterr().out


def test_a_failure_is_told(
    run: Any, pipeline: FakePipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.error = RuntimeError("inside")
    assert run("generate", "a boat", "-o", str(tmp_path / "out.png")) == 1
    told = capsys.readouterr().err
    assert told.startswith("fluxui: ")
    assert "inside fluxui" in told
    assert not (tmp_path / "out.png").exists()


def test_history_is_newest_first(
    run: Any, settings: Settings, pipeline: FakePipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    studio = make_studio(settings, pipeline)
    ids = [paint(studio, f"boat {number}").id for number in range(3)]
    studio.close()
    assert run("history", "list", "--limit", "2") == 0
    told = capsys.readouterr()
    assert [line.split()[0] for line in told.out.splitlines()] == ids[:0:-1]
    assert told.err == "1 more: --limit\n"
    assert run("history", "list", "--search", "boat 0") == 0
    assert capsys.readouterr().out.startswith(ids[0])


def test_a_running_server_is_said_in_one_sentence(
    run: Any, studio: Studio, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("history", "list") == 1
    told = capsys.readouterr().err
    assert told.startswith("fluxui: ")
    assert "--data-dir" in told


def test_a_setting_that_is_none_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FLUXUI_QUEUE_SIZE", "many")
    assert cli.main(["doctor"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("fluxui: ")
    assert "queue_size" in told.lower()
    assert "many" not in told


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXUI_PORT", "1234")
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    assert cli.read_settings({}).port == 1234
    assert cli.read_settings({}).host == "0.0.0.0"
    assert cli.read_settings({"port": 99, "host": "127.0.0.1"}).port == 99


def test_the_real_thing_paints_without_a_server(settings: Settings, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    command = ["generate", "a red boat", "-o", str(out), "--steps", "2"]
    flags = ["--data-dir", str(settings.data_dir), "--base-model", "tiny"]
    done = subprocess.run(
        [sys.executable, "-m", "fluxui", *command, *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, f"{out}\n"), done.stderr
    assert done.stderr == ""
    assert out.read_bytes().startswith(b"\x89PNG")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert all(name in told for name in ("serve", "generate", "loras", "history", "doctor"))


def test_history_out_of_the_storage_and_into_a_file(
    run: Any, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a boat", "a house"):
        run("generate", name, "-o", str(tmp_path / "out.png"), "--steps", "1")
    lines = tmp_path / "history.jsonl"
    assert run("history", "export", str(lines)) == 0
    (settings.data_dir / "history.json").unlink()
    capsys.readouterr()
    assert run("history", "rebuild") == 0
    assert capsys.readouterr().out == "2 of 2 that the history lacked were added.\n"
    assert run("history", "import", str(lines)) == 0
    assert "0 records were added.\n2 left out that were here already." in capsys.readouterr().out
    assert run("history", "verify") == 0
    assert capsys.readouterr().out.endswith("They agree.\n")
    next(settings.data_dir.glob("generated/*/*/*/*/image_1.png")).unlink()
    assert run("history", "verify") == 1
    assert "their pictures are gone" in capsys.readouterr().out
    assert run("history", "verify", "--repair") == 0
    assert "history.repaired.jsonl" in capsys.readouterr().out
    assert len((settings.data_dir / "history.repaired.jsonl").read_text().splitlines()) == 1


def test_history_import_without_the_file(run: Any, tmp_path: Path) -> None:
    assert run("history", "import", str(tmp_path / "none.jsonl")) == 1
    assert run("history", "export", str(tmp_path / "none" / "x.jsonl")) == 1
