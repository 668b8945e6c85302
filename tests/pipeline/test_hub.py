"""What keeps us from the Hub becomes one sentence with the way out."""

from __future__ import annotations

import json
from collections.abc import Callable
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
    ("cause", "token", "message", "hint"),
    [
        (
            "licence",
            None,
            "HF_TOKEN is not set",
            f"https://huggingface.co/{REPO}, then set HF_TOKEN",
        ),
        ("licence", "hf_x", "has not accepted", f"https://huggingface.co/{REPO} with the account"),
        ("private", None, "no FLUX model", "HF_TOKEN"),
        ("token", "hf_x", "refused", "HF_TOKEN"),
        ("offline", None, "could not be reached", "FLUXUI_BASE_MODEL=tiny"),
    ],
)
def test_each_refusal_has_a_way_out(
    cause: str,
    token: str | None,
    message: str,
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise errors()[cause]

    monkeypatch.setattr(hub, "snapshot_download", refuse)
    monkeypatch.setattr(hub, "hf_hub_download", refuse)
    settings = Settings(data_dir=tmp_path, hf_token=token)  # type: ignore[arg-type]
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


def cache(*, without: str = ".index.json", folder: Path = Path("/cache")) -> Callable[..., object]:
    """As if everything lay in the Hugging Face cache, but what is called so."""
    return lambda repo, name: None if name.endswith(without) else str(folder / name)


def test_half_of_a_download_is_not_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However a repository cut its weights: an index names the shards."""
    monkeypatch.setattr(hub, "try_to_load_from_cache", cache())
    assert hub.is_cached(REPO)
    shards = {f"layer.{number}": f"part-{number}.safetensors" for number in (1, 2)}
    for part, name in hub.PARTS.items():
        (tmp_path / part).mkdir()
        index = tmp_path / part / f"{name}.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": shards}))
    monkeypatch.setattr(hub, "try_to_load_from_cache", cache(without="?", folder=tmp_path))
    assert hub.is_cached(REPO)
    half = cache(without="part-2.safetensors", folder=tmp_path)
    monkeypatch.setattr(hub, "try_to_load_from_cache", half)
    assert not hub.is_cached(REPO)


def test_what_is_on_this_disk_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def download(repo: str, **given: object) -> str:
        asked.append(given["local_files_only"])
        return str(tmp_path)

    monkeypatch.setattr(hub, "try_to_load_from_cache", cache())
    monkeypatch.setattr(hub, "snapshot_download", download)
    monkeypatch.setattr(hub, "hf_hub_download", None)
    settings = Settings(data_dir=tmp_path)
    assert hub.fetch_config(REPO, "vae/config.json", settings) == Path("/cache/vae/config.json")
    hub.fetch_weights(REPO, settings)
    assert asked == [True]
