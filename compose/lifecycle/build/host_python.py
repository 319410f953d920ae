"""The Python 3.11 that the host runtime's environments are made with."""

from __future__ import annotations

import os
import sys
from typing import Optional

from lifecycle.console import Failure
from lifecycle.shell import answer

VERSION = "3.11"
_ASK = "import sys, venv, ensurepip; print(sys.executable, '%d.%d' % sys.version_info[:2])"


def find_python() -> str:
    """The interpreter: LABELLOOP_PYTHON, this one, or python3.11 on PATH.

    Raises:
        Failure: none of them is 3.11 with the venv module.
    """
    for candidate in filter(None, [os.environ.get("LABELLOOP_PYTHON"), sys.executable, f"python{VERSION}"]):
        executable = _right_version(candidate)
        if executable:
            return executable
    raise Failure(
        "Python",
        found=f"no python{VERSION} with venv (this one is {sys.version.split()[0]})",
        needed=f"{VERSION}, for which the packages are locked",
        do=f"Install python{VERSION} and its venv module (pyenv and uv have it where a distribution hasn't), "
        "name it in LABELLOOP_PYTHON, or install Docker, whose images bring their own.",
    )


def _right_version(candidate: str) -> Optional[str]:
    told = (answer([candidate, "-c", _ASK]) or "").split()
    return told[0] if len(told) == 2 and told[1] == VERSION else None
