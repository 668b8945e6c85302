from __future__ import annotations

import ast
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fluxui import cli
from fluxui.cli import _parser
from fluxui.request import GenerationForm, GenerationRequest, LoraRef
from fluxui.settings import Settings
from fluxui.ui import as_code
from tests.conftest import FakePipeline, make_studio, wait
from tests.live import serving

ADDRESS = "http://127.0.0.1:7860"
REQUEST = GenerationRequest(
    prompt='it\'s a "boat" $HOME `id`',
    loras=(LoraRef(model_id="me/dot-art", weight=0.65),),
    num_images=2,
    num_inference_steps=12,
    guidance_scale=3.5,
    width=128,
    height=192,
    seed=7,
)
TWO = REQUEST.model_copy(
    update={"loras": (LoraRef(model_id="one", weight=0.5), LoraRef(model_id="two"))}
)


def test_curl_sends_the_request_and_nothing_is_expanded_by_the_shell() -> None:
    words = shlex.split(as_code.curl(REQUEST, ADDRESS), comments=True)
    body = json.loads(words[words.index("-d") + 1])
    assert body["prompt"] == REQUEST.prompt
    assert (body["model_id"], body["lora_weight"]) == ("me/dot-art", 0.65)
    assert GenerationForm.parse(body)._chosen() == REQUEST.loras
    several = shlex.split(as_code.curl(TWO, ADDRESS), comments=True)
    assert len(json.loads(several[several.index("-d") + 1])["loras"]) == 2


def test_client_code_is_python_that_names_every_argument() -> None:
    tree = ast.parse(as_code.client(TWO, ADDRESS))
    call = next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "predict"
    )
    given = {one.arg: ast.literal_eval(one.value) for one in call.keywords}
    assert given["api_name"] == "/generate_image"
    assert given["prompt"] == REQUEST.prompt
    assert given["seed"] == 7


def test_the_command_line_understands_its_own_code() -> None:
    words = shlex.split(as_code.command(TWO, ADDRESS), comments=True)
    given = _parser().parse_args(words[3:])
    assert given.prompt == REQUEST.prompt
    assert given.lora == ["one:0.5", "two:0.8"]
    assert (given.width, given.height, given.seed, given.num_images) == (128, 192, 7, 2)


def test_no_key_is_ever_written_down() -> None:
    for _, written in as_code.LANGUAGES.values():
        assert "secret" not in written(REQUEST, ADDRESS).lower()


# A dash and a line break, quotes, what shells expand, and a seed that no float holds.
NASTY = REQUEST.model_copy(
    update={
        "prompt": '-- it\'s "a boat"\n$HOME `id` ${x} !! \\ %s é',
        "loras": (LoraRef(model_id="pixel-art", weight=0.65), LoraRef(model_id="ink-sketch")),
        "num_inference_steps": 2,
        "seed": 2**63 + 1,
    }
)


@pytest.mark.parametrize("request_", [NASTY, NASTY.model_copy(update={"loras": NASTY.loras[:1]})])
def test_what_is_pasted_asks_for_the_same(settings: Settings, request_: GenerationRequest) -> None:
    with serving(settings) as app:
        bash = ["bash", "-c", as_code.curl(request_, app.url)]
        told = subprocess.run(bash, capture_output=True, text=True, check=True, timeout=60)
        asked = wait(app.studio, json.loads(told.stdout)["id"])
        assert asked.request == request_
        python = [sys.executable, "-W", "ignore", "-c", as_code.client(request_, app.url)]
        subprocess.run(python, check=True, timeout=120, capture_output=True)
        newest, older = app.studio.pictures.page().generations
        assert (newest.request, older.id) == (request_, asked.id)


def test_the_pasted_command_paints_the_same(
    settings: Settings,
    pipeline: FakePipeline,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cli, "open_studio", lambda _: make_studio(settings, pipeline))
    monkeypatch.chdir(tmp_path)
    words = shlex.split(as_code.command(NASTY, ADDRESS), comments=True)
    assert words[:3] == ["python", "-m", "fluxui"]
    assert cli.main(words[3:]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["out_1.png", "out_2.png"]
    studio = make_studio(settings, pipeline)
    assert studio.pictures.page().generations[0].request == NASTY
    studio.close()
