"""Code in a process of its own, and the memory that it took."""

import os
import subprocess
import sys

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
