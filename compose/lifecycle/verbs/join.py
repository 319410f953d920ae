"""`make join`: this machine becomes a node of the cluster that another machine's stack has; `make leave`."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from labelloop import layout, ray_environment, reach
from labelloop.cluster_node import ALIVE
from labelloop.errors import Explained
from labelloop.join_file import JoinFile, Mark, NotJoinable
from lifecycle import files
from lifecycle.build import images, venvs
from lifecycle.console import Failure, heading, line, note
from lifecycle.doctor import outside
from lifecycle.home import Home
from lifecycle.runtime import volumes
from lifecycle.runtime.cluster import nodes, total
from lifecycle.runtime.host_stack import HostStack
from lifecycle.runtime.runtime import (
    Stack,
    check_alone,
    choose_accelerator,
    choose_architecture,
    choose_runtime,
    docker_stack,
    running_stack,
)
from lifecycle.settings import env_file, known, secret_files
from lifecycle.settings import settings as settings_module
from lifecycle.settings.settings import ENV_HEADER, Settings

JOIN_TAKES = (
    "HEAD=192.168.1.20:6379",
    "TOKEN_FILE=join.json",
    "CLUSTER_BIND=192.168.1.21",
    "CLUSTER_PORT=6379",
    "THREADS=8",
)
START_SECONDS = 180.0
_KEPT = ("CLUSTER_BIND", "CLUSTER_PORT", "THREADS")
_FILE = "Copy volumes/run/cluster/join.json from the head's checkout, and name it: `make join TOKEN_FILE=…`."


def join(home: Home, given: Mapping[str, str]) -> None:
    """Checks, image or environment, start; says what this machine brings, and what the cluster has.

    The checks come first, and change nothing. Without HEAD and TOKEN_FILE, with what it was given last.

    Raises:
        Failure: what is in the way: the version, the head, its certificate or token, the clock, the volumes.
    """
    kept = {name: given[name] for name in _KEPT if name in given}
    settings_module.check(home, kept)
    heading("Checks. Nothing is changed yet.")
    _check_no_stack(home)
    joining = _read(home, given)
    check_version(home, joining)
    head = _greet(joining)
    check_volumes(home, joining)
    settings = settings_module.load(home) | kept
    runtime = choose_runtime(settings)
    check_alone(home, settings, runtime)
    stack, settings = _prepare(home, joining, {**kept, "CLUSTER_HEAD": head}, runtime)
    heading("Node")
    nodes(home, settings, stack, running=False)
    line("token", "the head takes it")
    stack.start()
    _say(home, settings, stack)


def leave(home: Home, given: Mapping[str, str]) -> None:
    """Ends this machine's node, and forgets the cluster.

    Raises:
        Failure: it is in none.
    """
    settings = settings_module.load(home)
    if not settings.cluster_head:
        raise Failure(
            "this machine",
            found="in no cluster" if not settings.cluster else "a cluster's head",
            needed="one that has joined",
            do="`make up CLUSTER=none` ends a head." if settings.cluster else "",
        )
    stack = running_stack(home, settings)
    if stack.is_there():
        stack.stop()
    forgotten = {"CLUSTER_HEAD": "", "CLUSTER_TOKEN": ""}
    env_file.update(home.env_file, forgotten, header=ENV_HEADER, mode=0o600)
    (home.secrets / "CLUSTER_TOKEN").unlink(missing_ok=True)
    shutil.rmtree(home.cluster, ignore_errors=True)
    line("left", f"the cluster of {settings.cluster_head}; what was built stays")


def _check_no_stack(home: Home) -> None:
    settings = settings_module.load(home)
    if settings.cluster_head or not settings.get(known.LAST_RUNTIME):
        return
    if running_stack(home, settings).states():
        raise Failure(
            "this checkout",
            found="a stack of its own running from it",
            needed="a clone for the node alone, of the head's version",
            do="Clone it into another folder for that, or `make down` first.",
        )


def _read(home: Home, given: Mapping[str, str]) -> JoinFile:
    """The head's file; HEAD in the place of the address in it."""
    named = given.get("TOKEN_FILE", "")
    path = Path(named).expanduser() if named else home.join_file
    if not path.is_file():
        raise Failure(
            "make join", found=f"no {path}" if named else "no TOKEN_FILE", needed="the head's file", do=_FILE
        )
    if home.join_file.is_file() and not settings_module.load(home).cluster_head:
        raise Failure(
            f"{home.cluster}",
            found="a head's own files, so this clone's volumes/ is the head's as a whole",
            needed="a volumes/ of its own, with the head's images, models, rounds and cache in it",
            do="docs/how-to/several-machines.md tells how to share these folders alone.",
        )
    try:
        found = JoinFile.read(path)
    except NotJoinable as error:
        raise Failure(str(error), do=_FILE) from error
    if path.stat().st_mode & 0o077:
        note(f"{path} is open to others, and whoever has it may run programs here: chmod 600 {path}")
    return JoinFile(**{**vars(found), "head": given.get("HEAD") or found.head})


def check_version(home: Home, joining: JoinFile) -> None:
    """Raises Failure: this checkout's code is not the head's."""
    ours = settings_module.code_version(home)
    if ours != joining.version:
        raise Failure(
            "this checkout's version",
            found=ours,
            needed=f"{joining.version}, the head's",
            do="`git checkout` here what the head's checkout has (`git log -1` there). If the head was "
            "upgraded since it wrote the file, copy the file anew.",
        )
    line("version", f"{ours}, the head's")


def _greet(joining: JoinFile) -> str:
    try:
        head = reach.greet(joining.head, joining.authority)
    except Explained as error:
        raise Failure(str(error)) from error
    line("head", f"{head} answers, with the certificate of its cluster")
    return head


def check_volumes(home: Home, joining: JoinFile) -> None:
    """Raises Failure: volumes/rounds is not the head's, or the clocks differ."""
    try:
        mark = Mark.read(home.cluster_mark)
    except NotJoinable as error:
        raise Failure(
            f"{error}",
            do="Mount the head's volumes/images, models, rounds, cache and labelstudio/media/upload here "
            "first: docs/how-to/several-machines.md.",
        ) from error
    if mark.mark != joining.mark:
        raise Failure(
            f"{home.cluster_mark}",
            found=f"the mark {mark.mark}, of another head",
            needed=f"{joining.mark}",
            do="Mount the volumes of this head: docs/how-to/several-machines.md.",
        )
    line("volumes", "the head's")
    difference = mark.clock_difference()
    if difference:
        raise Failure(
            "the clock",
            found=f"{abs(difference):.0f} s {'ahead of' if difference > 0 else 'behind'} the head's",
            needed="the same within a minute or two",
            do="Set both by NTP (`timedatectl set-ntp true`). If both are right, the head has ended, or the "
            "share shows old files.",
        )
    line("clock", "the head's")


def _prepare(home: Home, joining: JoinFile, kept: Mapping[str, str], runtime: str) -> tuple[Stack, Settings]:
    """Puts settings, secret and authority in place; makes image or environment. Returns: what to start."""
    heading("Settings")
    accelerator = choose_accelerator(settings_module.load(home), runtime)
    arch = choose_architecture(settings_module.load(home), accelerator)
    env_file.update(
        home.env_file,
        {**_user(home), **kept, "CLUSTER": known.NO_CLUSTER, "CLUSTER_TOKEN": joining.token},
        header=ENV_HEADER,
        mode=0o600,
    )
    settings_module.keep(home, {})
    settings_module.complete(home, host_runtime=runtime == "host", accelerator=accelerator)
    settings = settings_module.load(home)
    secret_files.publish(home, settings)
    user = settings.containers_user if runtime == "docker" else None
    _put_authority(home, joining)
    volumes.prepare_node(home, user)
    note(f"volumes/run/cluster: the cluster's authority; {home.env_file.name}: its token")
    outside.use_for_builds(home, settings)
    if runtime == "docker":
        heading("Images")
        images.build_images(
            home, accelerator, arch, settings.get("REGISTRY", ""), cluster=True, services=("trainer",)
        )
        return docker_stack(home, settings), settings
    heading("Environment")
    stack = HostStack(home, settings)
    venvs.ensure_ml(home, accelerator, arch)
    venvs.ensure_cluster(home)
    return stack, settings


def _user(home: Home) -> dict[str, str]:
    """Where root joins, the node's containers run as the owner of what is shared with the head."""
    owner = (home.volumes / layout.ROUNDS).stat()
    return (
        {"PUID": str(owner.st_uid), "PGID": str(owner.st_gid)} if os.geteuid() == 0 and owner.st_uid else {}
    )


def _put_authority(home: Home, joining: JoinFile) -> None:
    home.cluster.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.replace_text(home.cluster / ray_environment.AUTHORITY_KEY, joining.authority_key, 0o600)
    files.replace_text(home.cluster / ray_environment.AUTHORITY, joining.authority, 0o600)
    files.replace_text(home.join_file, joining.text(), 0o600)


def _say(home: Home, settings: Settings, stack: Stack) -> None:
    """What this machine brings, once the head has it."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        found = nodes(home, settings, stack)
        here = next((node for node in found if node.is_here and node.state == ALIVE), None)
        if here is not None:
            line("brings", here.brings)
            line("cluster", total(found))
            return
        if time.monotonic() > deadline:
            raise Failure(
                f"this machine is not among the cluster's nodes after {START_SECONDS:.0f} s",
                do="`make logs` says why.",
            )
        time.sleep(2)
