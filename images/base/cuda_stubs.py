"""Makes a wheel of small libraries that stand for NVIDIA's where torch runs on the CPU alone.

    cuda_stubs.py OUT_DIR

The package index's torch is linked with NVIDIA's libraries, 2.4 GB that a run on the CPU loads and never
calls. Without them `import torch` fails, so each gets a stand-in that has the functions torch asks for.
Calling one says which library is missing, and ends the program.

Run it with an interpreter into which torch is installed; torch isn't imported. It needs gcc and binutils.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import importlib.util
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

OWNERS = {
    "cublasLt": "cublasLt",
    "cublas": "cublas",
    "cudnn": "cudnn",
    "cufft": "cufft",
    "curand": "curand",
    "cusparseLt": "cusparseLt",
    "cusparse": "cusparse",
    "nccl": "nccl",
    "nvrtc": "nvrtc",
    "nvshmem": "nvshmem_host",
}
"""How a function's name begins → its library. A CPU run calls cudart and cupti, so these are installed."""
NOT_LOADED = ("libtorch_cuda_linalg.so",)
"""torch loads it when a GPU is asked for linear algebra; it needs cuSOLVER, which has no stand-in."""
ASKED_ON_ANY_HOST = {
    "cudnnGetVersion": "size_t cudnnGetVersion(void) { return 0; }",
    "cudnnGetCudartVersion": "size_t cudnnGetCudartVersion(void) { return 0; }",
    "cudnnGetProperty": "int cudnnGetProperty(int which, int *value) { *value = 0; return 0; }",
}
"""`torch.__config__.show()` and `torch.backends.cudnn.version()` call these: the version is 0."""
NAME = "labelloop_cuda_stubs"
FOLDER = "nvidia/cu13/lib"
"""In site-packages: one of the folders where torch looks for NVIDIA's libraries."""

_SOURCE = """\
#include <stdlib.h>
#include <unistd.h>
static const char words[] = "{library} was called; it is not installed with ACCELERATOR=cpu\\n";
void labelloop_missing(void) {{ if (write(2, words, sizeof words - 1)) abort(); abort(); }}
"""


def functions(libraries: list[Path]) -> dict[str, dict[str, str]]:
    """What `libraries` ask of those that get a stand-in: soname → function → its version's name, or ""."""
    wanted: dict[str, dict[str, str]] = {}
    for path in libraries:
        needed = re.findall(r"NEEDED.*\[(lib(\w+)\.so[.\d]*)\]", _told("readelf", "--dynamic", str(path)))
        wanted.update({soname: {} for soname, name in needed if name in OWNERS.values()})
    by_name = {soname[len("lib") :].partition(".so")[0]: soname for soname in wanted}
    for path in libraries:
        told = _told("nm", "--dynamic", "--undefined-only", "--with-symbol-versions", str(path))
        for line in told.splitlines():
            function, _, version = line.split()[-1].partition("@")
            owner = next((owner for prefix, owner in OWNERS.items() if function.startswith(prefix)), "")
            if owner in by_name:
                wanted[by_name[owner]][function] = version.lstrip("@")
    return wanted


def compile_stub(soname: str, names: dict[str, str], into: Path) -> Path:
    """A shared library with these functions (see `functions`). Returns: its file, below `into`."""
    source, script, library = (into / f"{soname}{suffix}" for suffix in (".c", ".map", ""))
    source.write_text(
        _SOURCE.format(library=soname)
        + "".join(
            ASKED_ON_ANY_HOST.get(name, f'void {name}(void) __attribute__((alias("labelloop_missing")));')
            + "\n"
            for name in sorted(names)
        ),
        encoding="utf-8",
    )
    versions = {version: [name for name in names if names[name] == version] for version in names.values()}
    script.write_text(
        "".join(
            f"{version or soname} {{ global: {' '.join(f'{name};' for name in sorted(these))} }};\n"
            for version, these in sorted(versions.items())
        )
        + "LABELLOOP { local: *; };\n",
        encoding="utf-8",
    )
    link = [f"-Wl,-soname,{soname}", f"-Wl,--version-script,{script}"]
    command = ["gcc", "-shared", "-fPIC", "-O1", "-s", *link, "-o", str(library), str(source)]
    subprocess.run(command, check=True)
    return library


def write_wheel(libraries: list[Path], version: str, out: Path) -> Path:
    """Packs libraries into a wheel that puts them where torch looks. Returns: its file, below `out`."""
    info = f"{NAME}-{version}.dist-info"
    files = {f"{FOLDER}/{path.name}": path.read_bytes() for path in libraries}
    named = f"Metadata-Version: 2.1\nName: {NAME.replace('_', '-')}\nVersion: {version}\n"
    files[f"{info}/METADATA"] = named.encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: labelloop\nRoot-Is-Purelib: false\nTag: py3-none-any\n"
    )
    rows = [f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in files.items()]
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\n"]).encode()
    out.mkdir(parents=True, exist_ok=True)
    wheel = out / f"{NAME}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return wheel


def main(out: Path) -> Path:
    """Returns: the wheel, below `out`. Raises FileNotFoundError: there is no torch."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("torch is not installed into this interpreter")
    lib = Path(spec.origin).parent / "lib"
    wanted = functions(sorted(path for path in lib.glob("*.so") if path.name not in NOT_LOADED))
    with tempfile.TemporaryDirectory() as scratch:
        stubs = [compile_stub(soname, wanted[soname], Path(scratch)) for soname in sorted(wanted)]
        return write_wheel(stubs, importlib.metadata.version("torch"), out)


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _told(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
