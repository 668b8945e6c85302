"""README's front matter is what Hugging Face accepts, and says the same as spaces.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import SpaceHardware
from packaging.requirements import Requirement
from packaging.version import Version

from fluxui.settings import SPACE_VOLUME, Settings, variables
from fluxui.space import OURS, front_matter, read_descriptor

ROOT = Path(__file__).parent.parent
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
# Those of huggingface.co/docs/hub/spaces-config-reference that a Gradio Space can have.
ACCEPTED = """
    title emoji colorFrom colorTo sdk sdk_version python_version app_file base_path fullWidth header
    short_description models datasets tags thumbnail pinned license suggested_hardware hf_oauth
    hf_oauth_scopes disable_embedding startup_duration_timeout custom_headers preload_from_hub
"""


@pytest.fixture(scope="module")
def front() -> dict[str, Any]:
    _, block, _ = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    loaded: dict[str, Any] = yaml.safe_load(block)
    return loaded


@pytest.fixture(scope="module")
def space() -> dict[str, Any]:
    return read_descriptor()


def test_hugging_face_accepts_the_front_matter(front: dict[str, Any]) -> None:
    assert set(front) <= set(ACCEPTED.split())
    assert front["sdk"] == "gradio"
    assert {front["colorFrom"], front["colorTo"]} <= COLOURS
    assert len(front["short_description"]) <= 60
    assert front["license"] == "mit"
    assert isinstance(front["sdk_version"], str), "a version needs quotes if it has one dot"
    assert isinstance(front["python_version"], str)
    assert (ROOT / front["app_file"]).is_file()
    assert front["suggested_hardware"] in {one.value for one in SpaceHardware}


def test_the_space_runs_what_the_requirements_allow(front: dict[str, Any]) -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    gradio = next(Requirement(line) for line in lines if line.startswith("gradio"))
    assert Version(front["sdk_version"]) in gradio.specifier
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires-python = ">=3.10,<3.13"' in project
    assert front["python_version"] in ("3.10", "3.11", "3.12")


def test_the_front_matter_is_made_from_the_descriptor(space: dict[str, Any]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.startswith(front_matter(space)), "put front_matter(read_descriptor()) on top"
    assert set(space) >= OURS


def test_the_descriptor_names_what_there_is(space: dict[str, Any]) -> None:
    assert set(space["hardware"]) <= {one.value for one in SpaceHardware}
    assert space["suggested_hardware"] in space["hardware"]
    assert set(space["requirements"]) <= set(space["hardware"])
    assert set(space["secrets"]) | set(space["variables"]) <= set(variables().values())
    assert space["visibility"] in ("private", "protected", "public")
    assert [volume["mount_path"] for volume in space["volumes"]] == [str(SPACE_VOLUME)]


def test_what_is_secret_is_never_a_public_variable(space: dict[str, Any]) -> None:
    for field, name in variables().items():
        secret = "SecretStr" in str(Settings.model_fields[field].annotation)
        assert not secret or name not in space["variables"]
        assert secret or name not in space["secrets"]
    assert "FLUXUI_DEPLOY_TOKEN" not in space["secrets"]
