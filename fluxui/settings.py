"""The settings, read once from flags, environment and `.env`. Nothing else reads the environment.

Secrets are `SecretStr`: they show in no repr, log or error. A flag of the command line is an
argument of `Settings(...)` and wins over the environment.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.request import getproxies_environment

from platformdirs import user_data_path
from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
SPACE_VOLUME = Path("/data")

OutputFormat = Literal["png", "webp", "jpeg"]


def _alias(*names: str) -> AliasChoices:
    return AliasChoices(*names)


class Settings(BaseSettings):
    """Every setting there is. docs/configuration.md lists them for people (tested)."""

    model_config = SettingsConfigDict(
        env_prefix="FLUXUI_", env_file=".env", extra="ignore", frozen=True, populate_by_name=True
    )

    host: str = Field("127.0.0.1", validation_alias=_alias("FLUXUI_HOST", "GRADIO_SERVER_NAME"))
    port: int = Field(7860, validation_alias=_alias("FLUXUI_PORT", "GRADIO_SERVER_PORT"))
    share: bool = Field(False, validation_alias=_alias("FLUXUI_SHARE", "GRADIO_SHARE"))
    root_path: str = Field("", validation_alias=_alias("FLUXUI_ROOT_PATH", "GRADIO_ROOT_PATH"))
    forwarded_allow_ips: str = Field("127.0.0.1,::1", validation_alias="FORWARDED_ALLOW_IPS")
    insecure: bool = False
    auth: SecretStr | None = None
    api_key: SecretStr | None = None

    owners: str = ""
    mcp: bool = False

    system: str = Field("", validation_alias="SYSTEM")
    zero_gpu: bool = Field(False, validation_alias="SPACES_ZERO_GPU")
    space_host: str = Field("", validation_alias="SPACE_HOST")
    space_author_name: str = Field("", validation_alias="SPACE_AUTHOR_NAME")
    oauth_client_id: str = Field("", validation_alias="OAUTH_CLIENT_ID")
    oauth_client_secret: SecretStr | None = Field(None, validation_alias="OAUTH_CLIENT_SECRET")
    oauth_scopes: str = Field("openid profile", validation_alias="OAUTH_SCOPES")
    openid_provider_url: str = Field(
        "https://huggingface.co", validation_alias="OPENID_PROVIDER_URL"
    )
    base_model: str = "auto"
    fast: Literal["", "fp8", "cache", "fp8,cache"] = ""
    data_dir: Path = Field(default_factory=lambda values: default_data_dir(values["system"]))
    queue_size: int = Field(64, ge=1, le=10_000)

    visitor_queue_size: int = Field(8, ge=1)
    visitor_images_per_hour: int = Field(120, ge=1)
    visitor_megapixel_steps_per_hour: int = Field(4000, ge=1)
    total_images_per_hour: int = Field(1200, ge=1)
    total_megapixel_steps_per_hour: int = Field(40_000, ge=1)
    max_upload_mib: int = Field(2048, ge=1)

    lora_watch: int = Field(60, ge=0)
    lora_previews: bool = True
    lora_cache_gib: int = Field(20, ge=1)
    trash_days: int = Field(30, ge=0)
    output_format: OutputFormat = "png"

    webhook_url: str = ""
    webhook_secret: SecretStr | None = None

    visible_gpus: str = Field("", validation_alias="CUDA_VISIBLE_DEVICES")
    redis_url: SecretStr | None = Field(None, validation_alias="REDIS_URL")

    s3_bucket_name: str = Field("", validation_alias="S3_BUCKET_NAME")
    s3_region: str = Field("", validation_alias="S3_REGION")
    s3_endpoint_url: str = Field("", validation_alias="S3_ENDPOINT_URL")
    s3_prefix: str = Field("", validation_alias="S3_PREFIX")
    aws_access_key_id: SecretStr | None = Field(None, validation_alias="AWS_ACCESS_KEY_ID")
    aws_secret_access_key: SecretStr | None = Field(None, validation_alias="AWS_SECRET_ACCESS_KEY")
    aws_session_token: SecretStr | None = Field(None, validation_alias="AWS_SESSION_TOKEN")
    hf_token: SecretStr | None = Field(None, validation_alias="HF_TOKEN")
    deploy_token: SecretStr | None = None

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("s3_prefix")
    @classmethod
    def _folder(cls, value: str) -> str:
        return f"{value.strip('/')}/" if value.strip("/") else ""

    @cached_property
    def in_space(self) -> bool:
        return self.system == "spaces"

    @property
    def asks_hub(self) -> bool:
        """Whether visitors may say by their Hugging Face account who they are: on a Space that
        has `hf_oauth`, and no password."""
        known = self.oauth_client_id and self.oauth_client_secret
        return bool(self.in_space and known and not (self.auth or self.api_key))

    @property
    def public(self) -> bool:
        """Whether strangers can reach the page: a share link, or a bind beyond this machine."""
        return self.share or self.host not in LOOPBACK


def variables() -> dict[str, str]:
    """Field → the environment variable that sets it; the first, where several do."""
    names = {}
    for field, info in Settings.model_fields.items():
        alias = info.validation_alias
        first = alias.choices[0] if isinstance(alias, AliasChoices) else alias
        names[field] = str(first or f"FLUXUI_{field.upper()}")
    return names


def asked_directly(host: str) -> str:
    """Where the environment names a proxy: all that `no_proxy` names, and this machine itself."""
    proxies = getproxies_environment()
    direct = dict.fromkeys([*proxies.get("no", "").split(","), host, *sorted(LOOPBACK)])
    return ",".join(filter(None, direct)) if proxies else ""


def default_data_dir(system: str) -> Path:
    """The volume of a Space that has one, else the platform's user-data folder."""
    if system == "spaces" and SPACE_VOLUME.is_dir():
        return SPACE_VOLUME / "fluxui"
    return user_data_path("fluxui", appauthor=False)
