"""Small file systems that can be filled up; only root may mount them."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SIZE = "8m"


@contextmanager
def small_disk(folder: Path, size: str = SIZE) -> Iterator[Callable[[], Path]]:
    """A file system of that size at `folder`; what it gives fills it up and returns the file that does."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "labelloop-test", str(folder)], check=True)

    def fill() -> Path:
        filler = folder / "filler"
        with filler.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        return filler

    try:
        yield fill
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
