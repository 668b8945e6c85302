"""The Hugging Face Hub: what of a base model lies on this disk, and how the rest comes here.

Whatever keeps us from it becomes one sentence with the way out. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from fluxui.errors import BaseModelUnavailable

if TYPE_CHECKING:
    from fluxui.settings import Settings

# What painting needs, and how its weights are called, whole or in shards.
PARTS = {
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
    "transformer": "diffusion_pytorch_model",
}
# Not the single-file checkpoint that lies beside them in the same repository.
FOLDERS = (
    "model_index.json",
    "scheduler/*",
    "text_encoder*/*",
    "tokenizer*/*",
    "transformer/*",
    "vae/*",
)
_REFUSALS = (HfHubHTTPError, LocalEntryNotFoundError, HFValidationError, EntryNotFoundError)


def is_cached(repo: str) -> bool:
    """Whether every file of weights lies in the Hugging Face cache."""
    return all(_cached(repo, name) for name in _weights(repo))


def _weights(repo: str) -> Iterator[str]:
    """The files of weights; where an index lies in the cache, the shards that it names."""
    yield "model_index.json"
    for part, name in PARTS.items():
        index = _cached(repo, f"{part}/{name}.safetensors.index.json")
        if index:
            shards = set(json.loads(Path(index).read_text())["weight_map"].values())
            yield from (f"{part}/{shard}" for shard in sorted(shards))
        else:
            yield f"{part}/{name}.safetensors"


def _cached(repo: str, name: str) -> str:
    found = try_to_load_from_cache(repo, name)
    return found if isinstance(found, str) else ""


def fetch_config(repo: str, file: str, settings: Settings) -> Path:
    """One small file of a repository, from this disk if it is here. Raises BaseModelUnavailable."""
    found = try_to_load_from_cache(repo, file)
    if isinstance(found, str):
        return Path(found)
    try:
        return Path(hf_hub_download(repo, file, token=_token(settings)))
    except _REFUSALS as error:
        raise refusal(repo, error, settings) from None


def fetch_weights(repo: str, settings: Settings) -> Path:
    """The folder of a repository in diffusers' layout; the Hub is only asked for what is missing.

    Raises BaseModelUnavailable.
    """
    try:
        folder = snapshot_download(
            repo,
            token=_token(settings),
            allow_patterns=list(FOLDERS),
            local_files_only=is_cached(repo),
        )
        return Path(folder)
    except _REFUSALS as error:
        raise refusal(repo, error, settings) from None


def _token(settings: Settings) -> str | None:
    return settings.hf_token.get_secret_value() if settings.hf_token else None


def refusal(repo: str, error: Exception, settings: Settings) -> BaseModelUnavailable:
    """What kept us from the Hub, in one sentence with the way out."""
    page = f"https://huggingface.co/{repo}"
    if isinstance(error, GatedRepoError) and not settings.hf_token:
        return BaseModelUnavailable(
            f"{repo} asks for its licence to be accepted, and HF_TOKEN is not set.",
            f"Accept it at {page}, then set HF_TOKEN (https://huggingface.co/settings/tokens).",
        )
    if isinstance(error, GatedRepoError):
        return BaseModelUnavailable(
            f"{repo} is behind a licence that this token has not accepted.",
            f"Accept it at {page} with the account that the token is of.",
        )
    if isinstance(error, LocalEntryNotFoundError):
        return BaseModelUnavailable(
            f"{repo} is not on this disk, and the Hub could not be reached.",
            "Connect once to download it, or set FLUXUI_BASE_MODEL=tiny.",
        )
    if isinstance(error, (RepositoryNotFoundError, HFValidationError, EntryNotFoundError)):
        return BaseModelUnavailable(
            f"There is no FLUX model {repo!r} that we can see.",
            "Check the name, or set HF_TOKEN if it is private.",
        )
    return BaseModelUnavailable(f"The Hub refused {repo}.", f"Is HF_TOKEN still valid? See {page}.")
