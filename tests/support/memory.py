"""The memory that code takes: in a process of its own, or that of Python's objects."""

import gc
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable

_MEASURED = """
import resource
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{code}
print("grown", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def grown_mib(setup: str, code: str, seconds: float = 60.0) -> int:
    """By how many MiB `code` raised the peak of a fresh process that had run `setup`; fails when it fails."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    script = setup + _MEASURED.format(code=code)
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


def traced_peak(work: Callable[[], object]) -> int:
    """The most bytes that Python's objects took while `work` ran.

    What other tests have left does not count: the more objects there are in a process, the longer Python lets
    garbage in circles lie, which would pass for what `work` takes.
    """
    gc.collect()
    gc.freeze()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.unfreeze()
