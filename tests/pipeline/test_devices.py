"""The probe, against a driver that we play and against the machine that runs the test."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

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


def _set(reference: object, kind: type[ctypes._SimpleCData[int]], value: int) -> None:
    ctypes.cast(reference, ctypes.POINTER(kind)).contents.value = value  # type: ignore[arg-type]


@pytest.fixture
def with_driver(monkeypatch: pytest.MonkeyPatch) -> Callable[[Driver, str], None]:
    def install(driver: Driver, torch_version: str) -> None:
        monkeypatch.setattr(devices.ctypes, "CDLL", lambda name: driver)
        monkeypatch.setattr(devices, "version", lambda name: torch_version)

    return install


def test_a_cuda_device(with_driver: Callable[[Driver, str], None]) -> None:
    with_driver(Driver(), "2.13.0")
    found = devices.probe()
    assert (found.kind, found.name, found.capability) == ("cuda", "NVIDIA H200", (9, 0))
    assert found.memory == 150_000_000_000


def test_a_torch_without_cuda_hides_it(with_driver: Callable[[Driver, str], None]) -> None:
    with_driver(Driver(), "2.13.0+cpu")
    assert (devices.probe().kind, devices.probe().hidden) == ("cpu", True)


def test_a_driver_without_a_device(with_driver: Callable[[Driver, str], None]) -> None:
    with_driver(Driver(count=0), "2.13.0")
    assert (devices.probe().kind, devices.probe().hidden) == ("cpu", False)


def test_this_machine() -> None:
    assert (devices.probe().kind == "cuda") == torch.cuda.is_available()
    assert devices.ram() > 2**30
