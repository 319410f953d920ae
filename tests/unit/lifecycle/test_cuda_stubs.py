"""What stands for NVIDIA's libraries where torch runs on the CPU alone."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cuda_stubs
from lifecycle.build.pins import packages_in
from lifecycle.dev import lock

REPO = Path(__file__).parents[3]
BASE = REPO / "images" / "base"


def shared(source: str, path: Path, *options: str) -> Path:
    path.with_suffix(".c").write_text(source)
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", str(path), str(path.with_suffix(".c")), *options], check=True
    )
    return path


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that asks cuBLAS for a function with a version, NCCL for one without, and cuDNN who it is."""
    folder = tmp_path_factory.mktemp("asking")
    real = folder / "real"
    real.mkdir()
    (real / "map").write_text("libcublas.so.13 { global: *; };")
    script = f"-Wl,--version-script,{real / 'map'}"
    named = (
        shared(
            "void cublasCreate_v2(void) {}", real / "libcublas.so.13", script, "-Wl,-soname,libcublas.so.13"
        ),
        shared("void ncclSend(void) {}", real / "libnccl.so.2", "-Wl,-soname,libnccl.so.2"),
        shared(
            "long cudnnGetVersion(void) { return 92000; }",
            real / "libcudnn.so.9",
            "-Wl,-soname,libcudnn.so.9",
        ),
    )
    source = (
        "void cublasCreate_v2(void); void ncclSend(void); long cudnnGetVersion(void);"
        "void ask(void) { cublasCreate_v2(); ncclSend(); } long version(void) { return cudnnGetVersion(); }"
    )
    return shared(source, folder / "libasking.so", *map(str, named), "-Wl,-z,now", "-Wl,-rpath,$ORIGIN")


@pytest.fixture(scope="module")
def stubbed(asking: Path) -> Path:
    """The same library, beside the stand-ins of a wheel."""
    wanted = cuda_stubs.functions([asking])
    stubs = [cuda_stubs.compile_stub(soname, names, asking.parent) for soname, names in wanted.items()]
    wheel = cuda_stubs.write_wheel(stubs, "1.0", asking.parent / "wheel")
    installed = asking.parent / "installed"
    command = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--no-index", "--target"]
    subprocess.run([*command, str(installed), str(wheel)], check=True)
    return Path(shutil.copy(asking, installed / cuda_stubs.FOLDER))


def called(library: Path, function: str) -> subprocess.CompletedProcess[str]:
    program = f"import ctypes; print(ctypes.CDLL({str(library)!r}).{function}())"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_each_library_gets_the_functions_that_it_is_asked_for(asking: Path) -> None:
    assert cuda_stubs.functions([asking]) == {
        "libcublas.so.13": {"cublasCreate_v2": "libcublas.so.13"},
        "libnccl.so.2": {"ncclSend": ""},
        "libcudnn.so.9": {"cudnnGetVersion": ""},
    }


def test_a_library_loads_without_nvidias_and_the_version_is_0(stubbed: Path) -> None:
    done = called(stubbed, "version")
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_who_calls_one_reads_which_library_is_missing(stubbed: Path) -> None:
    done = called(stubbed, "ask")
    assert done.returncode == -signal.SIGABRT
    assert done.stderr == "libcublas.so.13 was called; it is not installed with ACCELERATOR=cpu\n"


def test_what_a_cpu_never_calls_is_in_cudas_lock_alone() -> None:
    for_cuda = set(lock.packages_of(BASE / "cuda.in"))
    assert {package.name for package in packages_in(BASE / "cuda.lock")} == for_cuda
    assert not for_cuda & {package.name for package in packages_in(BASE / "requirements.lock")}
