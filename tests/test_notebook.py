"""The Colab notebook: private unless asked, with nothing left in it, and it runs to its end.

Colab itself is a fake (tests/colab): the shell's class, the vault, the drive. The kernel is real,
and so are the clone, the page, and the small model that paints.
"""

from __future__ import annotations

import ast
import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from fluxui.pipeline.base_models import CATALOGUE
from fluxui.settings import Settings
from tests.live import free_port

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "notebooks" / "fluxui_colab.ipynb"
COLAB = Path(__file__).parent / "colab"


@pytest.fixture(scope="module")
def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def cells(notebook: Any) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def parameters(cells: list[str]) -> dict[str, Any]:
    """The fields of the forms, with what they hold before anybody touches them."""
    found = re.findall(r"^(\w+) = (.+?) +# ?@param", "\n".join(cells), re.MULTILINE)
    return {name: ast.literal_eval(value) for name, value in found}


def test_it_is_valid(notebook: Any) -> None:
    nbformat.validate(notebook)


def test_nothing_was_left_in_it(notebook: Any) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


def test_each_cell_is_plain_python(cells: list[str]) -> None:
    for number, source in enumerate(cells, 1):
        compile(source, f"cell {number}", "exec")


def test_it_asks_for_what_matters_and_shares_nothing_by_itself(cells: list[str]) -> None:
    fields = parameters(cells)
    assert fields["SHARE"] is False
    assert fields["STORAGE"] == "This machine"
    assert fields["BASE_MODEL"] == "auto"
    assert {"REPOSITORY", "S3_BUCKET_NAME", "S3_REGION", "S3_ENDPOINT_URL"} <= set(fields)


def test_it_offers_every_base_model(cells: list[str]) -> None:
    offered = re.search(r"^BASE_MODEL = .*# ?@param (\[.*?\])", "\n".join(cells), re.MULTILINE)
    assert offered
    assert set(ast.literal_eval(offered[1])) == {"auto", *CATALOGUE}


def run_settings(cells: list[str], vault: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """What the first two cells make of these fields and this vault."""
    source = "\n".join(cells[:2])
    for name, value in fields.items():
        source = re.sub(rf"^{name} = .*", f"{name} = {value!r}", source, flags=re.MULTILINE)
    run = subprocess.run(
        [sys.executable, "-c", f"{source}\nimport sys; print(repr(settings), file=sys.stderr)"],
        env={**os.environ, "PYTHONPATH": str(COLAB), "COLAB_VAULT": json.dumps(vault)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert not [value for value in vault.values() if value and value in run.stdout]
    settings: dict[str, Any] = eval(run.stderr, {"PosixPath": Path})
    assert set(settings) <= set(Settings.model_fields)
    return settings


def test_with_an_empty_vault_it_asks_for_nothing(cells: list[str]) -> None:
    settings = run_settings(cells, {"HF_TOKEN": None})
    assert settings == {
        "base_model": "auto",
        "share": False,
        "data_dir": Path("/content/fluxui-data"),
    }


def test_secrets_come_from_the_vault(cells: list[str]) -> None:
    vault = {
        "HF_TOKEN": "hf_not_for_eyes",
        "FLUXUI_AUTH": "ann:not-for-eyes",
        "AWS_ACCESS_KEY_ID": "AK-not-for-eyes",
        "AWS_SECRET_ACCESS_KEY": "secret-not-for-eyes",
    }
    assert run_settings(cells, vault).get("hf_token") == "hf_not_for_eyes"
    assert "auth" not in run_settings(cells, vault), "a page for its owner alone needs no login"
    assert run_settings(cells, vault, SHARE=True)["auth"] == "ann:not-for-eyes"
    bucket = run_settings(cells, vault, STORAGE="S3 bucket", S3_BUCKET_NAME="pictures")
    assert bucket["s3_bucket_name"] == "pictures"
    assert bucket["aws_secret_access_key"] == "secret-not-for-eyes"


def test_no_secret_is_written_down(cells: list[str]) -> None:
    assert not re.search(r"hf_[A-Za-z0-9]{10,}|AKIA", "\n".join(cells))


LOOK = """
import time
from urllib.request import urlopen
from fluxui.request import GenerationForm
job = app.studio.submit(GenerationForm.parse({"prompt": "a boat", "num_inference_steps": 2})).id
while not app.studio.get(job).status.ended:
    time.sleep(0.1)
print(app.studio.get(job).status.value, urlopen(app.url).status, app.logins)
"""


def test_it_runs_to_its_end(notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With Drive, a clone, and a look at the page before it is stopped."""
    content, notebook = tmp_path / "content", copy.deepcopy(notebook)
    for cell in notebook.cells:
        repository = repr(a_repository(tmp_path / "repository"))
        cell.source = re.sub(
            r"^REPOSITORY = .*", f"REPOSITORY = {repository}", cell.source, flags=re.M
        )
        cell.source = re.sub(r"^STORAGE = .*", 'STORAGE = "Google Drive"', cell.source, flags=re.M)
        cell.source = cell.source.replace("/content", str(content))
    look = nbformat.v4.new_code_cell(LOOK)
    notebook.cells.insert(-1, look)
    content.mkdir()
    run(notebook, tmp_path, monkeypatch)

    outputs = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
    assert look.outputs[0].text == "completed 200 None\n"
    assert "google.colab.kernel.proxyPort" in outputs, "the page opens below the cell"
    assert "hf_from_the_vault" not in outputs
    kept = content / "drive" / "MyDrive" / "fluxui"
    assert len(list(kept.glob("generated/**/image_1.png"))) == 1
    assert (kept / "history.json").read_bytes() == (
        content / "fluxui-data/history.json"
    ).read_bytes()


def a_repository(folder: Path) -> str:
    """The clone address of a repository with what is here now."""
    if not folder.is_dir():
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(ROOT / "fluxui", folder / "fluxui", ignore=ignored)
        for name in ("app.py", "requirements.txt"):
            shutil.copy(ROOT / name, folder)
        for told in ("init -q", "add .", "-c user.name=x -c user.email=x@x commit -qm x"):
            subprocess.run(["git", *told.split()], cwd=folder, check=True)
    return folder.as_uri()


def run(notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All cells, in a kernel of its own whose shell is Colab's."""
    kernel = tmp_path / "jupyter" / "kernels" / "colab"
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-m", "google.colab._kernel", "-f", "{connection_file}"]
    told = {"argv": argv, "display_name": "Colab", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(told))
    for name in ("JUPYTER_PATH", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    environment = {
        **os.environ,
        "PYTHONPATH": str(COLAB),
        "COLAB_VAULT": json.dumps({"HF_TOKEN": "hf_from_the_vault"}),
        "FLUXUI_PORT": str(free_port()),
        "FLUXUI_BASE_MODEL": "tiny",
    }
    client = NotebookClient(notebook, timeout=300, kernel_name="colab")
    client.execute(env=environment)


def test_it_starts_the_same_thing_as_everywhere(cells: list[str]) -> None:
    assert "from app import main" in cells[4]
    assert "main(block=False, **settings)" in cells[4]
