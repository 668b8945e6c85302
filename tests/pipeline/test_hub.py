"""What keeps us from the Hub becomes one sentence with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from fluxui.errors import BaseModelUnavailable
from fluxui.pipeline import hub
from fluxui.settings import Settings

REPO = "black-forest-labs/FLUX.1-dev"


class Answer:
    """All that these errors look at in an HTTP answer."""

    headers: dict[str, str] = {}
    request = None


def errors() -> dict[str, Exception]:
    said = {"response": Answer()}
    return {
        "licence": GatedRepoError("no", **said),
        "private": RepositoryNotFoundError("no", **said),
        "token": HfHubHTTPError("no", **said),
        "offline": LocalEntryNotFoundError("no"),
    }


@pytest.mark.parametrize(
    ("cause", "message", "hint"),
    [
        ("licence", "licence", f"https://huggingface.co/{REPO}"),
        ("private", "no FLUX model", "HF_TOKEN"),
        ("token", "refused", "HF_TOKEN"),
        ("offline", "could not be reached", "FLUXUI_BASE_MODEL=tiny"),
    ],
)
def test_each_refusal_has_a_way_out(
    cause: str, message: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise errors()[cause]

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    monkeypatch.setattr(hub, "hf_hub_download", refuse)
    settings = Settings(data_dir=tmp_path)
    for fetch in (
        lambda: hub.fetch_weights(REPO, settings),
        lambda: hub.fetch_config(REPO, "vae/config.json", settings),
    ):
        with pytest.raises(BaseModelUnavailable) as caught:
            fetch()
        assert message in caught.value.message
        assert hint in caught.value.hint


def test_the_token_is_handed_on_and_shown_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def download(repo: str, **given: object) -> str:
        seen.append(given["token"])
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    settings = Settings(data_dir=tmp_path, hf_token="hf_secret")  # type: ignore[arg-type]
    assert hub.fetch_weights(REPO, settings) == tmp_path
    assert seen == ["hf_secret"]
    assert "hf_secret" not in repr(settings)


def test_half_of_a_download_is_not_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda repo, name: f"/cache/{name}")
    assert hub.is_cached(REPO)
    monkeypatch.setattr(
        hub,
        "try_to_load_from_cache",
        lambda repo, name: None if name.endswith("3-of-00003.safetensors") else f"/cache/{name}",
    )
    assert not hub.is_cached(REPO)


def test_what_is_on_this_disk_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def download(repo: str, **given: object) -> str:
        asked.append(given["local_files_only"])
        return str(tmp_path)

    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda repo, name: f"/cache/{name}")
    monkeypatch.setattr(hub, "snapshot_download", download)
    monkeypatch.setattr(hub, "hf_hub_download", None)
    settings = Settings(data_dir=tmp_path)
    assert hub.fetch_config(REPO, "vae/config.json", settings) == Path("/cache/vae/config.json")
    hub.fetch_weights(REPO, settings)
    assert asked == [True]
