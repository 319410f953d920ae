"""Which version of the code a machine has: machines of a cluster train together only with the same."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("labelloop", "mlbackend", "trainer")
LIBRARIES = ("torch", "mmdet", "mmcv-full", "ray")
LENGTH = 12


def code_version() -> str:
    """A digest of our packages' sources and of the releases of what they train with."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        root = _root(package)
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{root.name}/{path.relative_to(root)}\0".encode())
            digest.update(path.read_bytes())
    for library in LIBRARIES:
        digest.update(f"{library}=={_release(library)}\0".encode())
    return digest.hexdigest()[:LENGTH]


def _root(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None, f"{package} is not installed here"
    return Path(spec.origin).parent


def _release(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"
