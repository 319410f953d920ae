"""Memory of processes, from /proc."""

from pathlib import Path


def peak_mb(pid: int | str = "self") -> float:
    """The most resident memory that a process has had so far, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"process {pid} tells no VmHWM")
