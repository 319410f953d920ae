"""The verbs of `make`, one function each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from lifecycle import exclusion
from lifecycle.console import Failure, fail, heading, line, refusal
from lifecycle.dev.audit import audit
from lifecycle.dev.gpu_check import gpu_check
from lifecycle.dev.lock import lock
from lifecycle.dev.record_pages import figures
from lifecycle.dev.sbom import sbom
from lifecycle.dev.simulate import OPTIONS as SIMULATION_OPTIONS
from lifecycle.dev.simulate import simulate
from lifecycle.dev.testing import bench, faults, lint, load, screenshots, test
from lifecycle.doctor import cluster
from lifecycle.doctor.doctor import doctor
from lifecycle.engine import SERVICES
from lifecycle.home import Home
from lifecycle.runtime.runtime import running_stack
from lifecycle.settings import settings as settings_module
from lifecycle.settings.given import given_to_make, is_yes, parse_arguments
from lifecycle.settings.known import FROM_ENVIRONMENT
from lifecycle.verbs.backup import backup, say_status
from lifecycle.verbs.cluster_status import say_nodes
from lifecycle.verbs.demo import demo
from lifecycle.verbs.intake import TAKES as IMPORT_TAKES
from lifecycle.verbs.intake import import_
from lifecycle.verbs.join import JOIN_TAKES, join, leave
from lifecycle.verbs.labels import labels
from lifecycle.verbs.move_database import move_database
from lifecycle.verbs.publish import publish
from lifecycle.verbs.reset import reset
from lifecycle.verbs.restore import restore, stop
from lifecycle.verbs.rotate import rotate
from lifecycle.verbs.takeaway import MODEL_TAKES, TOKEN_TAKES, model, token
from lifecycle.verbs.up import build, build_ahead, check_settings, stack, up
from lifecycle.verbs.upgrade import upgrade

Given = Mapping[str, str]
_ROOT = Path(__file__).resolve().parents[3]


def main(arguments: list[str], root: Path = _ROOT) -> int:
    """Runs one verb for the checkout at `root`. Returns: the exit status."""
    home = Home(root)
    os.chdir(home.root)
    settings_module.forget_the_shells()
    try:
        if not arguments or arguments[0] not in VERBS:
            raise Failure(
                "the verb",
                found=repr(arguments[0]) if arguments else "none",
                needed="one of " + ", ".join(VERBS),
            )
        words = given_to_make(os.environ.pop("MAKE_SETTINGS", ""))
        name, given = arguments[0], parse_arguments([*arguments[1:], *words])
        VERBS[name].check(name, given)
        verb = VERBS[name]
        if verb.alone and name not in _OF_A_NODE:
            cluster.check_own(home, settings_module.load(home))
        with exclusion.operation(home, name) if verb.alone else nullcontext():
            verb.run(home, given)
    except Failure as error:
        fail(error)
        return error.status
    except OSError as error:
        fail(refusal(error))
        return Failure.status
    except KeyboardInterrupt:
        way_on = "; `make up` carries on where this stopped" if VERBS[arguments[0]].resumed else ""
        print(f"\ninterrupted{way_on}", file=sys.stderr)
        return 130
    return 0


def _down(home: Home, given: Given) -> None:
    line("down", f"{'stopped' if stop(home) else 'nothing runs'}; volumes/ keeps everything")


def _restart(home: Home, given: Given) -> None:
    check_settings(home, given)
    if not given:  # Another runtime or name would stop another stack than the one that runs.
        build_ahead(home)
    stop(home)
    up(home, given)


def _status(home: Home, given: Given) -> None:
    settings = settings_module.load(home)
    stack = running_stack(home, settings)
    states = stack.states()
    heading("Services")
    for service in ("worker",) if settings.cluster_head else SERVICES:
        line(service, states.get(service, "not running"))
    if settings.in_cluster and states:
        say_nodes(home, settings, stack)
    if settings.cluster_head:
        return
    say_status(home, states.get("backup"))
    operation = exclusion.at_work(home)
    if operation:
        line("at work", operation)
    sys.stdout.flush()
    if "trainer" not in states:
        raise Failure(
            "the stack is not running",
            do="`make up` starts it." if not operation else f"Wait for {operation}.",
        )
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
    without = [] if is_yes(given, "IMAGES", otherwise=True) else ["--no-images"]
    _labelloop("export", "--format", given["FORMAT"], *without)(home, given)


def _report(home: Home, given: Given) -> None:
    file = ["--file", given["FILE"]] if given.get("FILE") else []
    _labelloop("report", *file)(home, given)


def _lock(home: Home, given: Given) -> None:
    lock(home, upgrade=is_yes(given, "UPGRADE"))


@dataclass(frozen=True)
class Verb:
    """takes: the settings that it knows, each as one writes it; None: it checks them itself.

    resumed: whether `make up` carries on where it was interrupted. alone: it changes what runs or what is
    kept, which no two may do at once.
    """

    run: Callable[[Home, Given], None]
    takes: Optional[tuple[str, ...]] = ()
    resumed: bool = False
    alone: bool = False

    def check(self, name: str, given: Given) -> None:
        """Raises Failure: this verb does not know one of the settings, and would silently ignore it."""
        if self.takes is None:
            return
        known = {setting.partition("=")[0] for setting in self.takes} | set(FROM_ENVIRONMENT)
        for setting in given:
            if setting not in known and not setting.startswith("LABELLOOP_"):
                raise Failure(
                    f"make {name}",
                    found=setting,
                    needed=f"at most {', '.join(self.takes)}" if self.takes else "no setting",
                    do="" if self.takes else "`make up NAME=VALUE` changes the settings.",
                )


_PROJECT = "PROJECT=2"
_OF_A_NODE = ("join", "leave", "down", "publish")
"""What changes no state of a stack, and so may be done on a machine that trains for another one's."""

VERBS = {
    "up": Verb(up, None, resumed=True, alone=True),
    "stack": Verb(stack, None, resumed=True, alone=True),
    "down": Verb(_down, alone=True),
    "restart": Verb(_restart, None, resumed=True, alone=True),
    "build": Verb(build, None, resumed=True, alone=True),
    "publish": Verb(publish, None, alone=True),
    "labels": Verb(
        labels, ("FILE=configs/labels/x.xml", "DETECTOR=yolox_s", "RENAME=cat=feline", "DRY=1", _PROJECT)
    ),
    "join": Verb(join, JOIN_TAKES, alone=True),
    "leave": Verb(leave, alone=True),
    "status": Verb(_status, (_PROJECT,)),
    "doctor": Verb(doctor, ("JSON=1",)),
    "logs": Verb(_logs),
    "import": Verb(import_, IMPORT_TAKES),
    "predict": Verb(_labelloop("predict"), (_PROJECT,)),
    "retrain": Verb(_labelloop("retrain"), (_PROJECT,)),
    "cancel": Verb(_labelloop("cancel"), (_PROJECT,)),
    "models": Verb(_labelloop("models"), (_PROJECT,)),
    "rollback": Verb(_rollback, ("VERSION=v0001", _PROJECT)),
    "export": Verb(_export, ("FORMAT=coco", "IMAGES=0", _PROJECT)),
    "model": Verb(model, (*MODEL_TAKES, _PROJECT)),
    "token": Verb(token, (*TOKEN_TAKES, _PROJECT)),
    "report": Verb(_report, ("FILE=report.html", _PROJECT)),
    "backup": Verb(backup, ("IMAGES=1", "SECRETS=1"), alone=True),
    "restore": Verb(restore, ("FILE=volumes/backups/….tar.gz",), alone=True),
    "upgrade": Verb(upgrade, alone=True),
    "move-database": Verb(
        move_database, ("DATABASE_URL=postgresql://…", "DATABASE_CA=configs/db.pem"), alone=True
    ),
    "reset": Verb(reset, ("YES=1", "BACKUP=0"), alone=True),
    "simulate": Verb(
        simulate, ("COCO=DIR", "KEEP=1", "RECORD=1", "PREDICTED=raccoon=cat,dog", *SIMULATION_OPTIONS)
    ),
    "demo": Verb(demo, ("IMAGES=60", "REMOVE=1"), resumed=True),
    "rotate-secrets": Verb(rotate, ("ADMIN=1",), resumed=True, alone=True),
    "test": Verb(test, ("TESTS=tests/unit",)),
    "faults": Verb(
        faults, ("SEED=1", "KILLS=200", "DATABASE=postgres", "REPLICAS=2", "BACKENDS=2", "TESTS=tests/faults")
    ),
    "bench": Verb(bench, None),
    "load": Verb(load, None),
    "figures": Verb(figures),
    "screenshots": Verb(screenshots),
    "gpu-check": Verb(gpu_check),
    "lint": Verb(lint),
    "sbom": Verb(sbom, ("ACCELERATOR=cuda",)),
    "audit": Verb(audit, ("OSV=URL",)),
    "lock": Verb(_lock, ("UPGRADE=1",)),
}
