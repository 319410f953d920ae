"""`make doctor`: looks at everything once, with the stack up, half up or down, and names the way out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Optional

from labelloop.findings import LOGS, OK, PROBLEM, WARNING, Finding, ok, problem, warning
from lifecycle import engine
from lifecycle.console import Failure
from lifecycle.doctor import checks, cluster, host_findings, outside, places, swarm_checks
from lifecycle.doctor.findings import Check, bounded, of_failure
from lifecycle.engine import NoEngine
from lifecycle.home import Home
from lifecycle.runtime.host_stack import HostStack
from lifecycle.runtime.runtime import DOCKER, HOST, SWARM, Stack, asked_runtime, docker_stack
from lifecycle.settings import settings as settings_module
from lifecycle.settings.given import is_yes
from lifecycle.settings.settings import Settings

LOOK_SECONDS = 40.0
SERVICES_SECONDS = 120.0
TRAINER_SECONDS = 90.0
RUNNING = ("healthy", "starting", "unhealthy")


def doctor(home: Home, given: Mapping[str, str]) -> None:
    """Prints what it finds, as JSON with JSON=1.

    Raises:
        Failure: there are problems; warnings alone raise nothing.
    """
    found = []
    as_json = is_yes(given, "JSON")
    for finding in examine(home):
        found.append(finding)
        if not as_json:
            say(finding)
    if as_json:
        print(json.dumps([asdict(finding) for finding in found], indent=2), flush=True)
    problems, warnings = (sum(f.level == level for f in found) for level in (PROBLEM, WARNING))
    if problems:
        told = f"{problems} problems, {warnings} warnings"
        raise Failure("the appliance", found=told, do="The way out is beside each.")
    if not as_json:
        print(f"\nNo problems, {warnings} warnings.", flush=True)


def say(finding: Finding) -> None:
    word = finding.level if finding.level == OK else finding.level.upper()
    print(f"{word:<8} {finding.name}: {finding.text}", flush=True)
    if finding.level != OK:
        print(f"{'':<8}   {finding.fix}\n{'':<8}   $ {finding.command}", flush=True)


def examine(home: Home) -> Iterator[Finding]:
    """Every finding, as it is made. Nothing here changes anything."""
    yield from bounded("host", partial(host_findings.host, home), LOOK_SECONDS)
    yield from bounded(".env", partial(host_findings.env_file, home), LOOK_SECONDS)
    loaded: list[Settings] = []
    yield from bounded("settings", partial(_load, home, loaded), LOOK_SECONDS)
    if not loaded:
        fix = "Mend the settings first, then look again."
        yield warning("services", "not looked at: which they are stands in the settings", fix, "make doctor")
        return
    [settings] = loaded
    yield from bounded("settings", partial(host_findings.settings, home), LOOK_SECONDS)
    info: dict[str, Any] = {}
    yield from bounded("engine", partial(_ask_engine, info), LOOK_SECONDS)
    refusal = None if info else engine.trouble()
    runtime = _runtime(home, settings, refusal)
    yield from bounded("engine", partial(_engine, settings, info, runtime, refusal), LOOK_SECONDS)
    for name, check in _host_checks(home, settings, info, runtime).items():
        yield from bounded(name, check, LOOK_SECONDS)
    if runtime != HOST and not info:
        return  # Neither the services nor who has their ports can be told.
    stack = HostStack(home, settings) if runtime == HOST else docker_stack(home, settings, runtime)
    states: dict[str, str] = {}
    if settings.cluster_head:
        yield from bounded("services", partial(_worker, stack), SERVICES_SECONDS)
        yield from bounded("cluster", partial(cluster.findings, home, settings, stack), LOOK_SECONDS)
        return
    yield from bounded("services", partial(_services, stack, states), SERVICES_SECONDS)
    for name, check in _stack_checks(home, settings, stack, states).items():
        yield from bounded(name, check, LOOK_SECONDS)
    yield from bounded("loop", partial(_loop, stack, states), TRAINER_SECONDS + 5)


def _host_checks(home: Home, settings: Settings, info: dict[str, Any], runtime: str) -> dict[str, Check]:
    return {
        "compose": partial(_compose, info, runtime),
        "gpu": partial(host_findings.gpu, settings, info, runtime),
        "disk": partial(host_findings.disk, home, {} if runtime == HOST else info),
        "volumes": partial(host_findings.volumes, home, settings, runtime),
        "file system": partial(places.findings, home),
        "network": partial(outside.findings, home, settings),
        "secrets": partial(host_findings.secrets, home, settings, runtime),
        "clock": partial(host_findings.clock, home),
        **({} if settings.cluster_head else {"project": partial(host_findings.project, home)}),
        **({"swarm": partial(swarm_checks.findings, home, settings)} if runtime == SWARM else {}),
    }


def _stack_checks(home: Home, settings: Settings, stack: Stack, states: dict[str, str]) -> dict[str, Check]:
    return {
        "ports": partial(_ports, home, settings, stack),
        "database": partial(_database, home, settings, stack, states),
        "cluster": partial(cluster.findings, home, settings, stack),
        "backups": partial(host_findings.backups, home, states.get("backup", "")),
    }


def _database(home: Home, settings: Settings, stack: Stack, states: dict[str, str]) -> Iterator[Finding]:
    """Label Studio's, where it is on PostgreSQL. Under Docker, the stack's own is asked by its container."""
    if not settings.on_postgres:
        return
    if settings.own_postgres and not any(service in states for service in engine.SERVICES):
        return  # down as a whole, which is told already
    if isinstance(stack, HostStack):
        yield from host_findings.database(home, settings)
    elif settings.own_postgres and states.get("postgres") != "healthy":
        state = states.get("postgres", "not there")
        yield problem("database", f"PostgreSQL is {state}", "Start it again.", "make up")
    else:
        yield ok("database", "on PostgreSQL")


def _load(home: Home, loaded: list[Settings]) -> Iterator[Finding]:
    """Puts the settings into `loaded`; a file that can't be read raises."""
    loaded.append(settings_module.load(home))
    yield from ()


def _ask_engine(info: dict[str, Any]) -> Iterator[Finding]:
    """Fills `info`, unless no engine answers."""
    told = engine.engine_info()
    if told.get("ServerVersion"):
        info.update(told)
    yield from ()


def _runtime(home: Home, settings: Settings, refusal: Optional[NoEngine]) -> str:
    """As `runtime.running_stack` chooses, without a word and without asking the engine again."""
    if settings.runtime not in (DOCKER, SWARM) and HostStack(home, settings).is_running():
        return HOST
    chosen = asked_runtime(settings)
    if chosen in (DOCKER, SWARM, HOST):
        return chosen
    return DOCKER if refusal is None or refusal.is_there else HOST


def _engine(
    settings: Settings, info: dict[str, Any], runtime: str, refusal: Optional[NoEngine]
) -> Iterator[Finding]:
    if runtime != HOST:
        yield of_failure("engine", refusal) if refusal else ok("engine", checks.engine_version(info))
    elif refusal and asked_runtime(settings) == "auto" and shutil.which("docker"):
        yield replace(of_failure("engine", refusal), level=WARNING)
    else:
        yield ok("engine", "Docker is not used; the stack is the host's own")


def _compose(info: Mapping[str, Any], runtime: str) -> Iterator[Finding]:
    if runtime != HOST and info:
        yield ok("compose", checks.compose_version())


def _services(stack: Stack, states: dict[str, str]) -> Iterator[Finding]:
    """Fills `states`. A stack that is down as a whole is a warning: `make down` may have been meant."""
    states.update(stack.states())
    if not any(service in states for service in engine.SERVICES):
        yield warning("services", "none runs", "Start them.", "make up")
        return
    for service in engine.SERVICES:
        state = states.get(service, "not there")
        if state == "healthy":
            yield ok(service, state)
        elif state == "starting":
            yield warning(service, state, "Wait a minute and look again.", "make doctor")
        else:
            said = stack.complaint(service)
            yield problem(service, f"{state}: {said}", "Start it again; `make logs` has the rest.", "make up")


def _worker(stack: Stack) -> Iterator[Finding]:
    """The only program of a machine that has joined a cluster."""
    state = stack.states().get("worker", "not there")
    if state == "healthy":
        yield ok("worker", state)
    else:
        said = stack.complaint("worker") if state in RUNNING else "its node does not run"
        yield problem("worker", f"{state}: {said}", "Start it again; `make logs` has the rest.", "make join")


def _ports(home: Home, settings: Settings, stack: Stack) -> Iterator[Finding]:
    if isinstance(stack, HostStack):
        ours = settings.published_ports if stack.holds_ports() else ()
        yield from host_findings.ports(settings, ours=ours, inner=True)
        return
    containers = stack.containers()
    checks.check_name(home, settings.project_name, containers)
    yield from host_findings.ports(settings, ours=engine.published_ports(containers), inner=False)


def _loop(stack: Stack, states: Mapping[str, str]) -> Iterator[Finding]:
    """What the trainer finds, which sees Label Studio, models and rounds; see trainer/health/doctor.py."""
    if states.get("trainer") not in RUNNING:
        text = "not looked at: models, rounds and connections are the trainer's to see, and it is down"
        yield warning("loop", text, "Start it, then look again.", "make up")
        return
    try:
        for row in json.loads(stack.ask(["doctor"], TRAINER_SECONDS).strip().splitlines()[-1]):
            yield Finding(**row)
    except Failure as error:
        yield problem("loop", error.text, *LOGS)
