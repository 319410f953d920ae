"""The verbs of `make`, one function each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from lifecycle import settings as settings_module
from lifecycle.audit import audit
from lifecycle.backup import backup, say_status
from lifecycle.console import Failure, fail, heading, line
from lifecycle.demo import demo
from lifecycle.doctor import doctor
from lifecycle.engine import SERVICES
from lifecycle.home import Home
from lifecycle.labels import labels
from lifecycle.lock import lock
from lifecycle.reset import reset
from lifecycle.restore import restore
from lifecycle.rotate import rotate
from lifecycle.runtime import running_stack
from lifecycle.sbom import sbom
from lifecycle.simulate import simulate
from lifecycle.testing import bench, faults, lint, load, screenshots, test
from lifecycle.up import build, up
from lifecycle.upgrade import upgrade

Given = Mapping[str, str]


def main(arguments: list[str]) -> int:
    """Runs one verb. Returns: the exit status."""
    home = Home(Path(__file__).resolve().parents[2])
    os.chdir(home.root)
    try:
        if not arguments or arguments[0] not in VERBS:
            raise Failure(
                "the verb",
                found=repr(arguments[0]) if arguments else "none",
                needed="one of " + ", ".join(VERBS),
            )
        VERBS[arguments[0]](home, settings_module.parse_arguments(arguments[1:]))
    except Failure as error:
        fail(error)
        return error.status
    except KeyboardInterrupt:
        print("\ninterrupted; `make up` carries on where this stopped", file=sys.stderr)
        return 130
    return 0


def _down(home: Home, given: Given) -> None:
    running_stack(home, settings_module.load(home)).stop()
    line("down", "stopped; volumes/ keeps everything")


def _restart(home: Home, given: Given) -> None:
    running_stack(home, settings_module.load(home)).stop()
    up(home, given)


def _status(home: Home, given: Given) -> None:
    stack = running_stack(home, settings_module.load(home))
    states = stack.states()
    heading("Services")
    for service in SERVICES:
        line(service, states.get(service, "not running"))
    say_status(home, states.get("backup"))
    sys.stdout.flush()
    if "trainer" not in states:
        raise Failure("the stack is not running", do="`make up` starts it.")
    stack.labelloop(["status"], given.get("PROJECT"))


def _logs(home: Home, given: Given) -> None:
    running_stack(home, settings_module.load(home)).logs(follow=sys.stdout.isatty())


def _labelloop(*command: str) -> Callable[[Home, Given], None]:
    def verb(home: Home, given: Given) -> None:
        running_stack(home, settings_module.load(home)).labelloop(command, given.get("PROJECT"))

    return verb


def _rollback(home: Home, given: Given) -> None:
    if "VERSION" not in given:
        raise Failure(
            "make rollback",
            found="no VERSION",
            needed="VERSION=v0001",
            do="`make models` lists the versions.",
        )
    _labelloop("rollback", given["VERSION"])(home, given)


def _export(home: Home, given: Given) -> None:
    if "FORMAT" not in given:
        raise Failure("make export", found="no FORMAT", needed="FORMAT=coco, yolo or voc")
    _labelloop("export", "--format", given["FORMAT"])(home, given)


def _report(home: Home, given: Given) -> None:
    file = ["--file", given["FILE"]] if given.get("FILE") else []
    _labelloop("report", *file)(home, given)


def _lock(home: Home, given: Given) -> None:
    lock(home, upgrade=bool(given.get("UPGRADE")))


VERBS: dict[str, Callable[[Home, Given], None]] = {
    "up": up,
    "down": _down,
    "restart": _restart,
    "build": build,
    "labels": labels,
    "status": _status,
    "doctor": doctor,
    "logs": _logs,
    "import": _labelloop("import"),
    "predict": _labelloop("predict"),
    "retrain": _labelloop("retrain"),
    "cancel": _labelloop("cancel"),
    "models": _labelloop("models"),
    "rollback": _rollback,
    "export": _export,
    "report": _report,
    "backup": backup,
    "restore": restore,
    "upgrade": upgrade,
    "reset": reset,
    "simulate": simulate,
    "demo": demo,
    "rotate-secrets": rotate,
    "test": test,
    "faults": faults,
    "bench": bench,
    "load": load,
    "screenshots": screenshots,
    "lint": lint,
    "sbom": sbom,
    "audit": audit,
    "lock": _lock,
}
