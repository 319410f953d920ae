#!/bin/sh
# Compiles mmcv-full (an sdist only) into a wheel.
#
#   build-mmcv-wheel.sh PYTHON OUT_DIR
#
# PYTHON  an interpreter that has torch, setuptools<81, wheel, ninja and psutil
# OUT_DIR receives the wheel; without CUDA a second one, with what stands for NVIDIA's libraries (cuda_stubs.py)
# ACCELERATOR=cuda compiles the CUDA operators too (for TORCH_CUDA_ARCH_LIST); MAX_JOBS bounds the compilers.
# MMCV_PLAIN=1 compiles each file by itself, as mmcv does: tests/mmcv compares the two.
set -eu
python=$1
out=$2
PATH="$(dirname "$python"):$PATH"
export PATH
here=$(dirname "$0")

MMCV_WITH_OPS=1
# -g0: with debug symbols the library is 78 MB.
CFLAGS="-O2 -g0"
MAX_JOBS=${MAX_JOBS:-$(nproc)}
export MMCV_WITH_OPS CFLAGS MAX_JOBS

if [ "${ACCELERATOR:-cpu}" = cuda ]; then
    FORCE_CUDA=1
    CUDA_HOME=$("$python" -c 'import pathlib, nvidia; print(next(iter(pathlib.Path(p, "cu13") for p in nvidia.__path__)))')
    export FORCE_CUDA CUDA_HOME
    # torch's build helper looks for lib64 and the unversioned name; the wheels ship neither.
    [ -e "$CUDA_HOME/lib64" ] || ln -s lib "$CUDA_HOME/lib64"
    [ -e "$CUDA_HOME/lib/libcudart.so" ] || ln -s libcudart.so.13 "$CUDA_HOME/lib/libcudart.so"
else
    FORCE_CUDA=0
    CUDA_VISIBLE_DEVICES=
    export FORCE_CUDA CUDA_VISIBLE_DEVICES
    # mmcv's setup imports torch, which needs them.
    "$python" "$here/cuda_stubs.py" "$out"
    "$python" -m pip install --quiet --no-deps --no-index "$out"/labelloop_cuda_stubs-*.whl
fi

source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
"$python" -m pip download --no-deps --no-build-isolation --no-binary :all: --dest "$source" --require-hashes \
    --requirement "$here/mmcv.lock"
tar -xzf "$source"/mmcv-full-*.tar.gz -C "$source" --strip-components 1
[ -n "${MMCV_PLAIN:-}" ] || "$python" "$here/mmcv_units.py" "$source"
"$python" -m pip wheel --no-deps --no-build-isolation --wheel-dir "$out" "$source"
