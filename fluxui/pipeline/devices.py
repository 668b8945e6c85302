"""What this machine could paint on, asked of the CUDA driver itself: the page is up before torch.

Knows no base model; `placement.py` decides with these facts.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CUdevice_attribute


@dataclass(frozen=True)
class Device:
    """`memory` is the device's own, `ram` the machine's, both in bytes.

    `hidden`: there is a CUDA device, but the installed torch was built without CUDA.
    """

    kind: str
    name: str
    memory: int
    ram: int
    capability: tuple[int, int] = (0, 0)
    hidden: bool = False


def cpu(hidden: bool = False) -> Device:
    memory = ram()
    return Device("cpu", "CPU", memory, memory, hidden=hidden)


def probe() -> Device:
    """The first CUDA device that torch may use, else the CPU. Imports no torch."""
    found = _cuda_device()
    if found is None:
        return cpu()
    return found if _torch_has_cuda() else cpu(hidden=True)


def ram() -> int:
    """The machine's memory in bytes; 0 where the system does not tell (Windows)."""
    if not hasattr(os, "sysconf"):
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _torch_has_cuda() -> bool:
    try:
        return "+cpu" not in version("torch")
    except PackageNotFoundError:
        return False


def _cuda_device() -> Device | None:
    """Device 0 of the driver, which honours CUDA_VISIBLE_DEVICES; None without one."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None
    count, handle, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return None
    name = ctypes.create_string_buffer(128)
    driver.cuDeviceGet(ctypes.byref(handle), 0)
    driver.cuDeviceGetName(name, len(name), handle)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    capability = tuple(
        _attribute(driver, handle, which) for which in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR)
    )
    return Device(
        "cuda", name.value.decode(), memory.value, ram(), capability=(capability[0], capability[1])
    )


def _attribute(driver: ctypes.CDLL, handle: ctypes.c_int, which: int) -> int:
    value = ctypes.c_int()
    driver.cuDeviceGetAttribute(ctypes.byref(value), which, handle)
    return value.value
