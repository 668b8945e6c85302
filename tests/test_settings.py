from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from fluxui.settings import Settings, asked_directly, default_data_dir


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_machine_with_nothing_gets_safe_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    settings = Settings()
    assert (settings.host, settings.port, settings.share) == ("127.0.0.1", 7860, False)
    assert not settings.public and settings.base_model == "auto"
    assert settings.data_dir.is_absolute()


def test_behind_a_proxy_this_machine_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert asked_directly("127.0.0.1") == ""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    assert asked_directly("192.168.0.2") == "192.168.0.2,127.0.0.1,::1,localhost"
    monkeypatch.setenv("no_proxy", "intranet.test,localhost")
    assert asked_directly("127.0.0.1") == "intranet.test,localhost,127.0.0.1,::1"


def test_environment_env_file_and_flags_win_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(".env").write_text("FLUXUI_PORT=1111\nS3_BUCKET_NAME=from-file\n")
    assert (Settings().port, Settings().s3_bucket_name) == (1111, "from-file")
    monkeypatch.setenv("FLUXUI_PORT", "2222")
    assert Settings().port == 2222
    assert Settings(port=3333).port == 3333


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("GRADIO_SERVER_NAME", "0.0.0.0", "public", True),
        ("GRADIO_SERVER_PORT", "9", "port", 9),
        ("GRADIO_SHARE", "true", "public", True),
        ("S3_PREFIX", "/my/pictures", "s3_prefix", "my/pictures/"),
        ("S3_PREFIX", "/", "s3_prefix", ""),
        ("SYSTEM", "spaces", "in_space", True),
    ],
)
def test_names_that_people_already_use(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str, expected: object
) -> None:
    monkeypatch.setenv(name, value)
    assert getattr(Settings(), field) == expected


def test_secrets_show_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "FLUXUI_AUTH", "FLUXUI_API_KEY"):
        monkeypatch.setenv(name, "canary-1234")
    settings = Settings()
    assert settings.hf_token is not None
    assert settings.hf_token.get_secret_value() == "canary-1234"
    assert "canary" not in f"{settings!r} {settings} {settings.model_dump()}"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_data_folder_outside_a_space_is_the_users_own() -> None:
    assert Path("/data") not in default_data_dir("").parents
