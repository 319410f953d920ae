"""`make up` in reading order: checks, settings, images (or environments), start, provisioning."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from labelloop.findings import OK
from lifecycle import engine
from lifecycle.backup import version
from lifecycle.backup.swap import undo_interrupted
from lifecycle.build import images, venvs
from lifecycle.console import Failure, heading, line, note
from lifecycle.doctor import checks, cluster, outside, places, swarm_checks
from lifecycle.doctor.host_findings import unknown_admins
from lifecycle.home import Home
from lifecycle.runtime import volumes
from lifecycle.runtime.cluster import total, wait_for_head
from lifecycle.runtime.host_stack import HostStack
from lifecycle.runtime.runtime import (
    HOST,
    SWARM,
    Stack,
    check_alone,
    choose_accelerator,
    choose_architecture,
    choose_runtime,
    docker_stack,
)
from lifecycle.settings import known, secret_files
from lifecycle.settings import settings as settings_module
from lifecycle.settings.settings import Settings

PROVISION_SECONDS = 300


class EnvironmentInUse(Failure):
    """On the host runtime: an environment is to be made anew, in the place where programs run on it."""


def up(home: Home, given: Mapping[str, str]) -> None:
    """From whatever there is to a running, provisioned stack; what is there already stays as it is.

    Raises:
        Failure: what is in the way, and the way out.
    """
    started = time.monotonic()
    stack, settings = _prepare(home, given, _stop_programs)
    heading("Services")
    stack.start()
    version.note(home)
    if settings.cluster:
        heading("Cluster")
        _say_cluster(home, settings, stack)
    heading("Label Studio's project")
    _provision(home, stack)
    _say_next(home, settings, time.monotonic() - started)


def stack(home: Home, given: Mapping[str, str]) -> None:
    """`make stack`: `make up` on a Docker swarm. Again after a change, it replaces one after the other."""
    up(home, {**given, "RUNTIME": SWARM})


def build(home: Home, given: Mapping[str, str], *, pull: bool = True) -> None:
    """`make build`: all of `make up` but the start.

    pull: whether images may come from REGISTRY.

    Raises:
        EnvironmentInUse: programs run on the environment that has to be made anew.
    """
    _prepare(home, given, _leave_programs, pull=pull)


def build_ahead(home: Home) -> bool:
    """`make build` beside what runs, so that a stop behind it is short.

    Returns: False when that can't be, since what runs needs the environment that has to be made anew. `up`
    makes it then, behind the stop.
    """
    try:
        build(home, {})
    except EnvironmentInUse:
        note("an environment has to be made anew: that waits until nothing runs on it any more")
        return False
    return True


def check_settings(home: Home, given: Mapping[str, str]) -> None:
    """Checks the settings given and stored. Before the stored ones, a restore that was killed is undone."""
    settings_module.check(home, given)
    if undo_interrupted(home):
        note("a restore was killed before its end: the state from before it is back")
    settings_module.check_stored(home, given)


def check_engine(home: Home, settings: Settings) -> None:
    """Raises Failure: the labels are on another engine than DATABASE and DATABASE_URL ask for."""
    noted = known.POSTGRES if home.database_name.is_file() else known.SQLITE
    last = settings.get(known.LAST_DATABASE) or noted
    if not home.has_labels or last == settings.database:
        return
    do = (
        "`make move-database` takes them over; `make up DATABASE=sqlite DATABASE_URL=` leaves them there."
        if last == known.SQLITE
        else "`make up DATABASE=postgres`, or DATABASE_URL= as before, stays with them. The way back is a "
        "backup from before the move: `make reset`, `make up DATABASE=sqlite DATABASE_URL=`, `make restore`."
    )
    raise Failure("the labels", found=f"on {last}", needed=f"on {settings.database}", do=do)


def check_numbers(home: Home, settings: Settings, runtime: str) -> None:
    """Raises Failure: REPLICAS or BACKENDS are more than one where that can't be."""
    if settings.replicas > 1 and not settings.on_postgres:
        way = "`make move-database` takes the labels there"
        if not home.has_labels:
            way = f"`make up DATABASE=postgres REPLICAS={settings.replicas}` begins there"
        raise Failure(
            f"REPLICAS={settings.replicas}",
            found="Label Studio's database on SQLite",
            needed="PostgreSQL, since SQLite's file has one writer at a time, for whom all others would wait",
            do=f"{way}; `make up REPLICAS=1` stays with SQLite.",
        )
    if settings.backends > 1 and runtime == HOST:
        raise Failure(
            f"BACKENDS={settings.backends}",
            found="the host runtime, where the ML backend is one process that uses THREADS cores",
            needed="Docker, which has several containers answer to one name",
            do="`make up BACKENDS=1`; more THREADS do more here.",
        )


def _stop_programs(stack: HostStack) -> None:
    note("stopping what runs on an environment that has to be made anew")
    stack.stop()


def _leave_programs(stack: HostStack) -> None:
    raise EnvironmentInUse(
        "the environment",
        found="programs of this checkout running on it",
        needed="none, to make it anew",
        do="`make upgrade` stops, backs up, builds and starts; `make down` stops.",
    )


def _prepare(
    home: Home, given: Mapping[str, str], on_use: Callable[[HostStack], None], *, pull: bool = True
) -> tuple[Stack, Settings]:
    """Returns: the stack, ready to start, and the settings in force.

    on_use: what becomes of programs that run on an environment that is to be made anew, in its place.
    """
    check_settings(home, given)
    moved = settings_module.move_dashboard(home, given)
    settings = settings_module.load(home) | moved

    heading("Checks. Nothing is changed yet.")
    check_engine(home, settings)
    runtime = choose_runtime(settings)
    check_numbers(home, settings, runtime)
    check_alone(home, settings, runtime)
    cluster.check(settings, runtime, running=settings_module.load(home).cluster and home.join_file.is_file())
    accelerator = choose_accelerator(settings, runtime)
    arch = choose_architecture(settings, accelerator)
    gpu = accelerator == "cuda" and engine.gpu_architecture() is not None
    if runtime != HOST:
        built = images.images_are_built(accelerator)
        if runtime == SWARM:
            swarm_checks.check(home, settings)
        ours = docker_stack(home, settings, runtime).containers()
        checks.check_docker(home, settings, running=ours, built=built, given=given)
    else:
        running = HostStack(home, settings).holds_ports()
        checks.check_host(home, settings, built=venvs.are_there(home), running=running, given=given)
    places.check_volumes(home)
    line("runs on", f"{runtime}, {accelerator}")
    if accelerator == "cuda" and not gpu:
        note("nvidia-smi lists no GPU here: what is made for one runs on the CPU, many times slower")
    for finding in outside.findings(home, settings):
        if finding.level != OK:
            note(f"{finding.text}. {finding.fix}")

    heading("Settings")
    for text in settings_module.keep(home, moved):
        note(text)
    written = settings_module.complete(
        home, host_runtime=runtime == HOST, accelerator=accelerator, gpu=gpu, swarm=runtime == SWARM
    )
    note(f".env: {', '.join(written)} written" if written else ".env: nothing to add")
    secret_files.publish(home, settings_module.load(home))
    settings = settings_module.load(home)
    outside.use_for_builds(home, settings)

    if runtime != HOST:
        heading("Images")
        volumes.prepare_volumes(
            home, settings.containers_user, postgres=settings.own_postgres, cluster=settings.cluster
        )
        published_at = settings.get("REGISTRY", "") if pull else ""
        images.build_images(
            home,
            accelerator,
            arch,
            published_at,
            postgres=settings.on_postgres,
            front=settings.replicas > 1,
            cluster=settings.cluster,
        )
        return docker_stack(home, settings, runtime), settings
    heading("Environments")
    volumes.prepare_volumes(home, None, postgres=settings.own_postgres, cluster=settings.cluster)
    stack = HostStack(home, settings)
    if not venvs.are_current(home, accelerator, arch) and stack.holds_ports():
        on_use(stack)
    venvs.ensure_both(home, accelerator, arch)
    if settings.cluster:
        venvs.ensure_cluster(home)
    return stack, settings


def _say_cluster(home: Home, settings: Settings, stack: Stack) -> None:
    found = wait_for_head(home, settings, stack)
    line("cluster", total(found))
    if settings.cluster_bind:
        line("join", f"copy {home.join_file} to another machine: `make join TOKEN_FILE=…` in a clone there")
    else:
        line("join", "this machine alone; `make up CLUSTER_BIND=<its address>` lets others join")


def _provision(home: Home, stack: Stack) -> None:
    """Project, labels, storage and backend; changes nothing where they are as the settings say."""
    told = [""]

    def say_waiting() -> None:
        waiting = str(_provisioned(home).get("waiting") or "")
        if waiting not in told:
            told.append(waiting)
            note(f"waiting: {waiting}")

    status, words = stack.provision(PROVISION_SECONDS, say_waiting)
    state = _provisioned(home)
    if state.get("problem"):
        raise Failure(
            str(state["problem"]),
            do="The stack runs with the labels it had; `make up` again after the change.",
        )
    if status != 0 or not state.get("done"):
        why = words.removeprefix("not provisioned: ") or f"the provisioner ended with {status}"
        raise Failure(
            f"Label Studio's project is not set up: {why}",
            do="`make logs` says more; `make up` tries again.",
        )
    note(f"project {state.get('project')}: labels, image storage and ML backend are connected")
    if state.get("unknown_admins"):
        note(unknown_admins(state["unknown_admins"]))


def _provisioned(home: Home) -> dict[str, Any]:
    """What the provisioner says of itself."""
    return dict(json.loads(home.provisioned.read_text())) if home.provisioned.exists() else {}


def _say_next(home: Home, settings: Settings, seconds: float) -> None:
    heading(f"labelloop is up ({seconds:.0f} s).")
    label_studio = settings.get("PUBLIC_URL") or settings.labelstudio_url
    line("label", label_studio)
    line("dashboard", settings.get("PUBLIC_DASHBOARD_URL") or settings.dashboard_url)
    line("user", settings["ADMIN_EMAIL"])
    line("password", f"ADMIN_PASSWORD in {home.env_file}, unless it was changed in Label Studio")
    line(
        "next",
        f"put images into {home.volumes / 'images'}; `make import` makes tasks of them at once",
    )
    if _provisioned(home).get("labellers") is False:
        line("others", f"who is to label, too, gets a link from {label_studio}/organization, Add Members")
