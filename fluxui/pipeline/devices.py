"""What this machine could paint on, asked of the CUDA driver itself: the page is up before torch.

Knows no base model; `placement.py` decides with these facts.
"""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CUdevice_attribute

# What requirements-gpu.txt adds, and triton, which torch brings along for CUDA → what it is for.
PACKAGES = {
    "torchao": "Weights in fp8.",
    "bitsandbytes": "Weights in NF4.",
    "flash_attn_3": "FlashAttention 3: faster steps.",
    "kernels": "FlashAttention 3: faster steps.",
    "triton": "Compiled blocks: faster steps.",
}
_MEMINFO = Path("/proc/meminfo")
_CONTAINER = Path("/sys/fs/cgroup")  # as a container sees its own


@dataclass(frozen=True)
class Device:
    """`memory` is the device's own, `ram` the machine's, both in bytes; the free parts of them are
    0 where nobody tells.

    `hidden`: there is a CUDA device, but the installed torch was built without CUDA. `packages`
    are those of `PACKAGES` that are installed.
    """

    kind: str
    name: str
    memory: int
    ram: int
    capability: tuple[int, int] = (0, 0)
    hidden: bool = False
    free: int = 0
    ram_free: int = 0
    packages: frozenset[str] = frozenset()

    @property
    def room(self) -> int:
        return self.free or self.memory

    @property
    def ram_room(self) -> int:
        return self.ram_free or self.ram


def cpu(hidden: bool = False) -> Device:
    memory = ram()
    return Device("cpu", "CPU", memory, memory, hidden=hidden, ram_free=ram_free())


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


def ram_free() -> int:
    """What may still be had, of the machine and of its container; 0 where the system won't say."""
    if not _MEMINFO.exists():
        return 0
    free = _number(r"^MemAvailable:\s+(\d+) kB", _MEMINFO.read_text()) * 1024
    limit, used = _CONTAINER / "memory.max", _CONTAINER / "memory.stat"
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        # The rest of what it uses is the cache of files, which gives way.
        own = int(limit.read_text()) - _number(r"^anon (\d+)$", used.read_text())
        return min(free, max(own, 1))
    return free


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1]) if found else 0


def installed() -> frozenset[str]:
    return frozenset(name for name in PACKAGES if _version(name))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _torch_has_cuda() -> bool:
    found = _version("torch")
    return found != "" and "+cpu" not in found


def count_gpus() -> int:
    """The CUDA devices of this machine that the driver shows."""
    driver, count = _driver(), ctypes.c_int()
    if driver is None or driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def _driver() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None


def _cuda_device() -> Device | None:
    """Device 0 of the driver, which honours CUDA_VISIBLE_DEVICES; None without one."""
    driver = _driver()
    if driver is None or not count_gpus():
        return None
    handle, memory = ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(128)
    driver.cuDeviceGet(ctypes.byref(handle), 0)
    driver.cuDeviceGetName(name, len(name), handle)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    major, minor = (
        _attribute(driver, handle, which) for which in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR)
    )
    return Device(
        "cuda",
        name.value.decode(),
        memory.value,
        ram(),
        capability=(major, minor),
        free=_free(driver, handle),
        ram_free=ram_free(),
        packages=installed(),
    )


def _attribute(driver: ctypes.CDLL, handle: ctypes.c_int, which: int) -> int:
    value = ctypes.c_int()
    driver.cuDeviceGetAttribute(ctypes.byref(value), which, handle)
    return value.value


class _Memory(ctypes.Structure):
    """nvmlMemory_t"""

    _fields_ = tuple((name, ctypes.c_ulonglong) for name in ("total", "free", "used"))


def _free(driver: ctypes.CDLL, handle: ctypes.c_int) -> int:
    """What other programs leave of the device, by NVML: the driver itself tells only who has a
    context on it, which costs hundreds of megabytes. 0 if NVML does not know (a MIG slice).
    """
    try:
        nvml = ctypes.CDLL("nvml.dll" if os.name == "nt" else "libnvidia-ml.so.1")
    except OSError:
        return 0
    raw, slot, memory = ctypes.create_string_buffer(16), ctypes.c_void_p(), _Memory()
    driver.cuDeviceGetUuid(raw, handle)
    digits = raw.raw.hex()
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    uuid = f"GPU-{'-'.join(parts)}".encode()
    refused = (
        nvml.nvmlInit_v2()
        or nvml.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(slot))
        or nvml.nvmlDeviceGetMemoryInfo(slot, ctypes.byref(memory))
    )
    return 0 if refused else int(memory.free)
