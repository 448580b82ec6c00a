"""On what machine figures were measured."""

import os
import platform
from pathlib import Path
from typing import Final

_MEMORY: Final = "MemTotal:"


def name_processor() -> str:
    """The model's name where Linux tells it, else what the platform calls itself."""
    names = (line.partition(":")[2].strip() for line in _read("/proc/cpuinfo") if line.startswith("model name"))
    return next(names, platform.processor())


def describe_machine() -> dict[str, str]:
    """What figures depend on, for readers."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = next((int(line.split()[1]) for line in _read("/proc/meminfo") if line.startswith(_MEMORY)), None)
    return {
        "processor": name_processor() or "not known",
        "cores": f"{cores}",
        **({} if memory is None else {"memory": f"{memory / 1024**2:.1f} GB"}),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _read(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
