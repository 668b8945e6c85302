from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled
from pydantic import SecretStr

from fluxui import doctor
from fluxui.doctor import Finding, examine, look
from fluxui.errors import StorageUnavailable
from fluxui.pipeline.devices import PACKAGES, Device
from fluxui.settings import Settings
from fluxui.storage.s3 import S3Storage

CPU = Device("cpu", "CPU", 8 * 10**9, 8 * 10**9)
H200 = Device("cuda", "NVIDIA H200", 150 * 10**9, 200 * 10**9, capability=(9, 0))
OLD = Device("cuda", "GTX 1050", 2 * 10**9, 16 * 10**9, capability=(6, 1))


def found(settings: Settings, device: Device = CPU) -> list[Finding]:
    return list(look(settings, device))


def changed(settings: Settings, **changes: Any) -> Settings:
    return settings.model_copy(update=changes)


def about(findings: list[Finding], words: str) -> Finding:
    (one,) = [finding for finding in findings if words in finding.text]
    return one


def test_a_machine_with_nothing_can_run(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert examine(changed(settings, base_model="auto")) == 0
    told = capsys.readouterr().out
    assert "Base model: tiny" in told
    assert told.endswith("fluxui can run.\n")


def test_it_says_what_flux_dev_needs(settings: Settings) -> None:
    findings = found(changed(settings, base_model="auto"))
    device = about(findings, "For FLUX.1-dev: no CUDA device")
    token = about(findings, "HF_TOKEN is not set")
    assert (device.kind, token.kind) == ("missing", "missing")
    assert not device.stops and not token.stops
    assert "https://huggingface.co/black-forest-labs/FLUX.1-dev" in token.text


def test_what_is_missing_stops_it_when_it_is_asked_for(settings: Settings) -> None:
    findings = found(changed(settings, base_model="flux1-dev"))
    assert about(findings, "HF_TOKEN is not set").stops
    assert about(findings, "no CUDA device").stops


@pytest.mark.parametrize(
    ("device", "words"),
    [
        (OLD, "GB of"),
        (Device("cpu", "CPU", 1, 1, hidden=True), "built without CUDA"),
    ],
)
def test_a_device_that_is_not_enough(settings: Settings, device: Device, words: str) -> None:
    findings = found(changed(settings, base_model="auto"), device)
    assert "missing" in [one.kind for one in findings if words in one.text]


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (None, "ok", "may download"),
        (GatedRepoError, "missing", "has not accepted"),
        (HfHubHTTPError, "missing", "refused"),
        (httpx2.ConnectError("no network"), "note", "could not be reached"),
        (OfflineModeIsEnabled("offline"), "note", "could not be reached"),
    ],
)
def test_access_to_the_weights(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, error: Any, kind: str, words: str
) -> None:
    def asked(url: str, **given: Any) -> None:
        assert given["token"] == "hf_canary"
        assert given["timeout"] <= 5
        if isinstance(error, type):
            answer = httpx2.Response(403, request=httpx2.Request("HEAD", url))
            raise error("no", response=answer)
        if error:
            raise error

    monkeypatch.setattr(doctor, "get_hf_file_metadata", asked)
    findings = found(changed(settings, hf_token=SecretStr("hf_canary"), base_model="auto"), H200)
    assert about(findings, words).kind == kind
    assert "Base model: FLUX.1-dev" in about(findings, "Base model").text
    assert not [one for one in findings if "hf_canary" in one.text]


def test_a_hub_in_trouble_is_not_blamed_on_the_token(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(url: str, **given: Any) -> None:
        answer = httpx2.Response(502, request=httpx2.Request("HEAD", url))
        raise HfHubHTTPError("bad gateway", response=answer)

    monkeypatch.setattr(doctor, "get_hf_file_metadata", asked)
    findings = found(changed(settings, hf_token=SecretStr("hf_x"), base_model="auto"), H200)
    assert about(findings, "in trouble").kind == "note"


def test_libraries(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = tmp_path / "requirements.txt"
    asked.write_text("# comment\n\ngradio>=6\ntorch>=99\nno-such-library>=1\n")
    monkeypatch.setattr(doctor, "REQUIREMENTS", asked)
    findings = found(settings)
    assert about(findings, "torch is").stops
    assert about(findings, "no-such-library is not installed").stops
    assert "gradio" in about(findings, "Libraries:").text


@pytest.mark.parametrize("version", [(3, 9, 18), (3, 13, 0)])
def test_python(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    assert doctor._python().stops


def test_a_data_folder_that_can_not_be_written(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finding = about(found(changed(settings, data_dir=tmp_path / "file" / "x")), "Data folder")
    assert (finding.kind, finding.stops) == ("missing", True)


def test_bucket(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert about(found(settings), "Bucket").kind == "note"
    bucket = changed(settings, s3_bucket_name="pictures")
    monkeypatch.setattr(S3Storage, "check", lambda self: None)
    assert about(found(bucket), "Bucket").kind == "ok"

    def refused(self: S3Storage) -> None:
        raise StorageUnavailable("The bucket does not answer.")

    monkeypatch.setattr(S3Storage, "check", refused)
    finding = about(found(bucket), "Bucket")
    assert (finding.kind, finding.stops) == ("missing", True)
    assert "does not answer" in finding.text


def test_a_base_model_that_there_is_not(
    settings: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert examine(changed(settings, base_model=str(tmp_path))) == 1
    assert capsys.readouterr().out.endswith("fluxui can't run as configured.\n")


def test_a_disk_that_is_nearly_full(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert about(found(settings), "Disk").kind == "note"


def test_it_says_which_package_would_help(settings: Settings) -> None:
    card = Device("cuda", "RTX 4090", 25 * 10**9, 67 * 10**9, (8, 9), free=24 * 10**9)
    findings = found(changed(settings, base_model="auto"), card)
    assert "24 GB of it free" in about(findings, "Device: RTX 4090").text
    assert about(findings, "with torchao (requirements-gpu.txt)").kind == "note"
    assert about(findings, "with bitsandbytes").text.endswith("pictures differ visibly.")
    everything = replace(card, packages=frozenset(PACKAGES))
    findings = found(changed(settings, base_model="auto"), everything)
    assert not [one for one in findings if "requirements-gpu" in one.text]
    assert "rounded to 8 bits" in about(findings, "the device.").text
