"""What a process holds, read from ``/proc``: memory, open sockets."""

from pathlib import Path
from typing import Final

MB: Final = 1 << 20


class Footprint:
    """The process with this id."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def forget_peak(self) -> None:
        """Makes the memory held now the highest so far."""
        (self._folder / "clear_refs").write_text("5")

    @property
    def peak(self) -> int:
        """The most memory that was resident since :meth:`forget_peak`, in bytes."""
        return self._status("VmHWM")

    @property
    def resident(self) -> int:
        """Memory in bytes."""
        return self._status("VmRSS")

    @property
    def threads(self) -> int:
        return len(list((self._folder / "task").iterdir()))

    @property
    def sockets(self) -> int:
        """How many file descriptors are sockets."""
        targets = (self._target(entry) for entry in (self._folder / "fd").iterdir())
        return sum(target.startswith("socket:") for target in targets)

    def _target(self, entry: Path) -> str:
        try:
            return str(entry.readlink())
        except FileNotFoundError:  # closed meanwhile
            return ""

    def _status(self, name: str) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        (value,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
        return int(value) * 1024
