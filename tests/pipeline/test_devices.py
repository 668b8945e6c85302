"""The probe, against a driver that we play and against the machine that runs the test."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

from fluxui.pipeline import devices


class Driver:
    """What libcuda.so.1 answers, for one GPU."""

    def __init__(self, count: int = 1) -> None:
        self._count = count

    def cuInit(self, flags: int) -> int:
        return 0

    def cuDeviceGetCount(self, count: ctypes.c_int) -> int:
        _set(count, ctypes.c_int, self._count)
        return 0

    def cuDeviceGet(self, handle: ctypes.c_int, index: int) -> int:
        _set(handle, ctypes.c_int, index)
        return 0

    def cuDeviceGetName(self, name: ctypes.Array[ctypes.c_char], size: int, handle: object) -> int:
        name.value = b"NVIDIA H200"
        return 0

    def cuDeviceTotalMem_v2(self, memory: ctypes.c_size_t, handle: object) -> int:
        _set(memory, ctypes.c_size_t, 150_000_000_000)
        return 0

    def cuDeviceGetAttribute(self, value: ctypes.c_int, which: int, handle: object) -> int:
        _set(value, ctypes.c_int, {75: 9, 76: 0}[which])
        return 0

    def cuDeviceGetUuid(self, raw: ctypes.Array[ctypes.c_char], handle: object) -> int:
        raw.raw = bytes(range(16))
        return 0


class Nvml:
    """What libnvidia-ml.so.1 answers: other programs have most of the GPU."""

    def __init__(self, refuses: str = "") -> None:
        self._refuses = refuses

    def nvmlInit_v2(self) -> int:
        return int(self._refuses == "init")

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes, slot: object) -> int:
        assert uuid == b"GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"
        return int(self._refuses == "uuid")

    def nvmlDeviceGetMemoryInfo(self, slot: object, memory: object) -> int:
        found = ctypes.cast(memory, ctypes.POINTER(devices._Memory)).contents  # type: ignore[arg-type]
        found.total, found.free, found.used = 150_000_000_000, 9_000_000_000, 141_000_000_000
        return 0


def _set(reference: object, kind: type[ctypes._SimpleCData[int]], value: int) -> None:
    ctypes.cast(reference, ctypes.POINTER(kind)).contents.value = value  # type: ignore[arg-type]


Install = Callable[..., None]


@pytest.fixture
def with_driver(monkeypatch: pytest.MonkeyPatch) -> Install:
    def install(driver: Driver, torch_version: str, nvml: Nvml | None = None) -> None:
        def library(name: str) -> Driver | Nvml:
            if "cuda" in name:
                return driver
            if nvml is None:
                raise OSError("no such file")
            return nvml

        def version(name: str) -> str:
            if name not in ("torch", "triton"):
                raise PackageNotFoundError
            return torch_version

        monkeypatch.setattr(devices.ctypes, "CDLL", library)
        monkeypatch.setattr(devices, "version", version)

    return install


def test_a_cuda_device(with_driver: Install) -> None:
    with_driver(Driver(), "2.13.0")
    found = devices.probe()
    assert (found.kind, found.name, found.capability) == ("cuda", "NVIDIA H200", (9, 0))
    assert found.memory == found.room == 150_000_000_000
    assert found.packages == {"triton"}


def test_what_other_programs_leave_of_it(with_driver: Install) -> None:
    with_driver(Driver(), "2.13.0", Nvml())
    assert (devices.probe().free, devices.probe().room) == (9_000_000_000, 9_000_000_000)
    for refuses in ("init", "uuid"):
        with_driver(Driver(), "2.13.0", Nvml(refuses))
        assert (devices.probe().free, devices.probe().room) == (0, 150_000_000_000)


def test_a_torch_without_cuda_hides_it(with_driver: Install) -> None:
    with_driver(Driver(), "2.13.0+cpu")
    assert (devices.probe().kind, devices.probe().hidden) == ("cpu", True)


def test_a_driver_without_a_device(with_driver: Install) -> None:
    with_driver(Driver(count=0), "2.13.0")
    assert (devices.probe().kind, devices.probe().hidden) == ("cpu", False)


def test_this_machine() -> None:
    assert (devices.probe().kind == "cuda") == torch.cuda.is_available()
    assert devices.ram() > 2**30
    assert 0 < devices.ram_free() <= devices.ram()


def test_a_container_has_less_than_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9 kB\nMemAvailable:   2000000 kB\n")
    monkeypatch.setattr(devices, "_MEMINFO", meminfo)
    monkeypatch.setattr(devices, "_CONTAINER", tmp_path)
    assert devices.ram_free() == 2_048_000_000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.stat").write_text("anon 400000000\nfile 700000000\n")
    assert devices.ram_free() == 2_048_000_000
    (tmp_path / "memory.max").write_text("1000000000\n")
    assert devices.ram_free() == 600_000_000
    monkeypatch.setattr(devices, "_MEMINFO", tmp_path / "none")
    assert devices.ram_free() == 0
