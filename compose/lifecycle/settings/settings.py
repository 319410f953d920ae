"""The settings of this checkout: generated into .env, given on the make command line, or edited by hand."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Optional

from labelloop import database_place, layout
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.inputs import inputs_hash
from lifecycle.settings import env_file, host, known, network

ENV_HEADER = """\
# Written by `make up`: secrets, ports and facts of this host. Mode 600, not in git. Change a port here or by
# `make up PORT=…`. `make up` applies what is changed here, ADMIN_PASSWORD too.
# `make rotate-secrets` makes new secrets."""
_LOCAL_HEADER = """\
# Your settings of the loop; they win over configs/loop.env, which explains them.
# `make up NAME=VALUE` writes them here."""

# What the services' programs read once; see the label labelloop.programs in docker-compose.yml.
_PROGRAMS = ("configs/gunicorn", "configs/supervisor", "configs/haproxy")
# Two machines of one cluster have these alike.
_CODE = ("images/base", "images/mlbackend", "images/trainer", "images/cluster")
GPU_FILE = "compose/gpu.yml"


@dataclass(frozen=True, eq=False)
class Settings(Mapping[str, str]):
    """The settings in force: each as text by its name, and typed where `make` itself goes by one.

    A number is read when it is asked for, so that an impossible one stops only what needs it, with a Failure.
    """

    _values: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __or__(self, given: Mapping[str, str]) -> Settings:
        """These, but those of `given` win."""
        return Settings({**self._values, **given})

    @property
    def runtime(self) -> str:
        """docker, swarm, host, or auto."""
        return self.get("RUNTIME", "auto")

    @property
    def last_runtime(self) -> str:
        """What the stack ran on last; auto where it never ran."""
        return self.get(known.LAST_RUNTIME, "auto")

    @property
    def accelerator(self) -> str:
        """The operator's word: cpu, cuda, or auto."""
        return self.get("ACCELERATOR", "auto")

    @property
    def device(self) -> str:
        """What the model runs on: cuda where the last `make up` found a GPU and made all for it; else cpu."""
        return "cuda" if GPU_FILE in self.get("COMPOSE_FILE", "") else "cpu"

    @property
    def project_name(self) -> str:
        """Of the Compose project."""
        return self.get("COMPOSE_PROJECT_NAME", "labelloop")

    @property
    def bind(self) -> str:
        """The IPv4 address that Label Studio and the dashboard are published on; 0.0.0.0 is all of them."""
        return self.get("BIND") or "127.0.0.1"

    @property
    def port(self) -> int:
        """Label Studio's, as published."""
        return self._number("PORT", layout.LABELSTUDIO_PORT)

    @property
    def dashboard_port(self) -> int:
        """The dashboard's, as published; where that isn't settled yet, the one behind Label Studio's."""
        return self._number("DASHBOARD_PORT", layout.default_dashboard_port(self.port))

    @property
    def published_ports(self) -> tuple[int, int]:
        """Label Studio's, the dashboard's."""
        return self.port, self.dashboard_port

    @property
    def mlbackend_port(self) -> int:
        """On the host runtime."""
        return self._number("MLBACKEND_PORT", layout.MLBACKEND_PORT)

    @property
    def trainer_port(self) -> int:
        """On the host runtime."""
        return self._number("TRAINER_PORT", layout.TRAINER_PORT)

    @property
    def database(self) -> str:
        """What Label Studio's database is on: sqlite or postgres."""
        return known.POSTGRES if self.on_postgres else known.SQLITE

    @property
    def on_postgres(self) -> bool:
        """Whether Label Studio's database is on PostgreSQL."""
        return bool(self.get("DATABASE_URL")) or self.get("DATABASE") == known.POSTGRES

    @property
    def own_postgres(self) -> bool:
        """Whether the stack brings that PostgreSQL."""
        return self.on_postgres and not self.get("DATABASE_URL")

    @property
    def database_port(self) -> int:
        """Of the stack's own PostgreSQL, on the host runtime."""
        return self._number("DATABASE_PORT", database_place.PORT)

    def database_url(self, host: str = "127.0.0.1") -> str:
        """Where the database on PostgreSQL is; empty on SQLite. host: the own server's."""
        if not self.own_postgres:
            return self.get("DATABASE_URL", "")
        name = database_place.NAME
        port = self.database_port
        return str(database_place.DatabasePlace(host, name, name, port, tls="disable"))

    @property
    def replicas(self) -> int:
        """Of Label Studio: containers, or on the host runtime as many more processes of one server."""
        return self._number("REPLICAS", 1)

    @property
    def backends(self) -> int:
        """Containers of the ML backend."""
        return self._number("BACKENDS", 1)

    @property
    def cluster(self) -> bool:
        """Whether this stack is the head of a Ray cluster."""
        return self.get("CLUSTER") == known.RAY

    @property
    def cluster_bind(self) -> str:
        """The IPv4 address by which other machines reach the head; empty where it is alone."""
        return self.get("CLUSTER_BIND", "") if self.cluster else ""

    @property
    def cluster_port(self) -> int:
        """The first of the ports of this machine's node."""
        return self._number("CLUSTER_PORT", layout.CLUSTER_PORT)

    @property
    def cluster_head(self) -> str:
        """Host and port of the head that this machine has joined; empty where it has not."""
        return self.get("CLUSTER_HEAD", "")

    @property
    def in_cluster(self) -> bool:
        """Whether this machine is a node of a cluster: its head, or one that has joined."""
        return self.cluster or bool(self.cluster_head)

    @property
    def gateway(self) -> str:
        """This host, as the stack's containers reach it."""
        subnet = ipaddress.IPv4Network(self.get("SUBNET") or "10.213.0.0/24")
        return str(subnet.network_address + 1)

    @property
    def labelstudio_url(self) -> str:
        """For a browser on this host, or one that reaches BIND."""
        return self._url(self.port)

    @property
    def dashboard_url(self) -> str:
        return self._url(self.dashboard_port)

    def _url(self, port: int) -> str:
        host = "localhost" if self.bind in ("0.0.0.0", "127.0.0.1") else self.bind
        return f"http://{host}:{port}"

    @property
    def containers_user(self) -> Optional[tuple[int, int]]:
        """User and group that the containers run as; None before the first `make up`."""
        if not (self.get("PUID") and self.get("PGID")):
            return None
        return self._number("PUID"), self._number("PGID")

    @property
    def threads(self) -> int:
        """Of the model; 1 before the first `make up`."""
        return self._number("THREADS", 1)

    @property
    def holdout_min(self) -> int:
        return self._number("HOLDOUT_MIN")

    @property
    def holdout_percent(self) -> int:
        return self._number("HOLDOUT_PERCENT")

    @property
    def retrain_every(self) -> int:
        """In labelled images; 0: no round begins by itself."""
        return self._number("RETRAIN_EVERY")

    def _number(self, name: str, otherwise: int = 0) -> int:
        """Raises Failure: the setting is no whole number. otherwise: where there is none."""
        text = self.get(name) or str(otherwise)
        try:
            return int(text)
        except ValueError:
            do = f"Correct {name}; `make doctor` names the file that it stands in."
            raise Failure(name, found=repr(text), needed="a whole number", do=do) from None


def forget_the_shells() -> None:
    """Takes what .env decides out of the environment, which Compose would prefer."""
    for name in (*known.HOST_SETTINGS, *known.FOR_COMPOSE):
        if name not in known.FROM_ENVIRONMENT:
            os.environ.pop(name, None)


def load(home: Home) -> Settings:
    """Every setting in force. The later wins: configs/loop.env, configs/local.env, .env, the environment.

    Of the environment, only RUNTIME, ACCELERATOR and COMPOSE_PROJECT_NAME count.
    """
    files = (home.shipped_settings, home.local_settings, home.env_file)
    settings = {name: value for path in files for name, value in env_file.read(path).items()}
    settings.update({name: os.environ[name] for name in known.FROM_ENVIRONMENT if os.environ.get(name)})
    return Settings(settings)


def check(home: Home, given: Mapping[str, str]) -> None:
    """Whether settings given on the command line can be kept.

    Raises:
        Failure: an unknown name or an impossible value among settings given on the command line.
    """
    names = [*known.HOST_SETTINGS, *env_file.read(home.shipped_settings)]
    for name, value in given.items():
        _check(home, name, value, names)


def check_stored(home: Home, given: Mapping[str, str]) -> None:
    """The settings that stand in files, or in the environment, and that none of `given` replaces.

    Raises:
        Failure: one of them has an impossible value.
    """
    files = (home.env_file, home.local_settings, home.shipped_settings)
    for name, value in load(home).items():
        problem = known.problem(home, name, value) if value and name not in given else None
        if problem:
            where = next((str(path) for path in files if name in env_file.read(path)), "the environment")
            raise Failure(f"{name} in {where}", found=repr(value), needed=problem, do="Correct it there.")


def move_dashboard(home: Home, given: Mapping[str, str]) -> dict[str, str]:
    """`given`, where PORT takes DASHBOARD_PORT along unless that was given a place of its own."""
    have = load(home)
    port = have.get("PORT", "")
    follows = port.isdecimal() and have.get("DASHBOARD_PORT") == str(Settings({"PORT": port}).dashboard_port)
    return {
        **({"DASHBOARD_PORT": str(Settings(given).dashboard_port)} if follows and "PORT" in given else {}),
        **given,
    }


def keep(home: Home, given: Mapping[str, str]) -> list[str]:
    """Keeps settings given on the command line (see `check`).

    Returns: a line for each one that changed, to print.
    """
    loop_names = env_file.read(home.shipped_settings)
    before = load(home)
    local = {name: value for name, value in given.items() if name in loop_names}
    others = {name: value for name, value in given.items() if name not in loop_names}
    if local or not home.local_settings.exists():
        env_file.update(home.local_settings, local, header=_LOCAL_HEADER, mode=0o644)
    if others:
        env_file.update(home.env_file, others, header=ENV_HEADER, mode=0o600)
    files = {name: home.local_settings if name in loop_names else home.env_file for name in given}
    return [
        f"{name}={given[name]} is kept in {files[name].relative_to(home.root)}"
        for name in given
        if before.get(name) != given[name]
    ]


def complete(
    home: Home, *, host_runtime: bool, accelerator: str, gpu: bool = True, swarm: bool = False
) -> list[str]:
    """Generates what .env lacks and brings the facts of this host in it up to date; all else in it stays.

    The host runtime gets ports for the services that Docker doesn't publish. accelerator: what images and
    environments are made for. gpu: for cuda, whether this host has one; what was made runs on the CPU, too.
    swarm: whether Docker's containers are placed by Swarm.

    Returns: the names that were written.
    """
    have = env_file.read(home.env_file)
    uid, gid = host.services_user(home)
    defaults: dict[str, Callable[[], str]] = {
        "COMPOSE_PROJECT_NAME": lambda: os.environ.get("COMPOSE_PROJECT_NAME") or "labelloop",
        "BIND": lambda: "127.0.0.1",
        "PORT": lambda: str(layout.LABELSTUDIO_PORT),
        "DASHBOARD_PORT": lambda: str(Settings(have).dashboard_port),
        "SUBNET": network.free_subnet,
        "PUID": lambda: str(uid),
        "PGID": lambda: str(gid),
        "THREADS": lambda: str(host.cores()),
        "TRAINER_MEMORY": lambda: host.memory_limit("TRAINER_MEMORY"),
        "MLBACKEND_MEMORY": lambda: host.memory_limit("MLBACKEND_MEMORY"),
        "ADMIN_EMAIL": lambda: "admin@labelloop.local",
        **known.SECRETS,
    }
    if host_runtime:
        defaults["MLBACKEND_PORT"] = lambda: str(network.free_port(layout.MLBACKEND_PORT))
        defaults["TRAINER_PORT"] = lambda: str(network.free_port(layout.TRAINER_PORT))
        if load(home).own_postgres:
            defaults["DATABASE_PORT"] = lambda: str(network.free_port(database_place.PORT))
    changes = {name: make() for name, make in defaults.items() if not have.get(name)}
    facts = {
        "COMPOSE_FILE": compose_files(load(home), on_gpu=accelerator == "cuda" and gpu),
        "COMPOSE_ACCELERATOR": accelerator,
        known.LAST_RUNTIME: "host" if host_runtime else "swarm" if swarm else "docker",
        known.LAST_DATABASE: load(home).database,
        "PROGRAMS_STAMP": inputs_hash(home.root, _PROGRAMS),
        **(_cluster_facts(home, load(home) | changes) if load(home).in_cluster else {}),
    }
    changes.update({name: value for name, value in facts.items() if have.get(name) != value})
    if changes:
        env_file.update(home.env_file, changes, header=ENV_HEADER, mode=0o600)
    if home.env_file.stat().st_mode & 0o077:
        home.env_file.chmod(0o600)
    return list(changes)


def _cluster_facts(home: Home, settings: Settings) -> dict[str, str]:
    studio = "127.0.0.1" if settings.bind == "0.0.0.0" else settings.bind
    code = code_version(home)
    return {"CLUSTER_CODE": code, "CLUSTER_GATEWAY": settings.gateway, "CLUSTER_STUDIO": studio}


def code_version(home: Home) -> str:
    """Of what a round consists of: the same on every machine with the same checkout."""
    return inputs_hash(home.root, _CODE)[:12]


def compose_files(settings: Settings, *, on_gpu: bool) -> str:
    """What docker-compose.yml is completed by, as COMPOSE_FILE names it."""
    files = ["docker-compose.yml"]
    if on_gpu:
        files.append(GPU_FILE)
    if settings.on_postgres:
        files.append("compose/postgres.yml" if settings.own_postgres else "compose/database-url.yml")
    if settings.replicas > 1:
        files.append("compose/replicas.yml")
    if settings.backends > 1:
        files.append("compose/backends.yml")
    if settings.cluster:
        files.append("compose/cluster.yml")
    if settings.cluster_bind:
        files.append("compose/cluster-hosts.yml")
    if settings.cluster_head:
        files.append("compose/worker.yml")
        if on_gpu:
            files.append("compose/worker-gpu.yml")
    return ":".join(files)


def _check(home: Home, name: str, value: str, names: list[str]) -> None:
    if name in known.ALL_SECRETS:
        raise Failure(
            f"{name} is a secret",
            do=f"Put it into {home.env_file} before the first `make up`; a command line is no place for it.",
        )
    if name not in names:
        raise Failure(
            f"the setting {name}", found="no such setting", needed="one of " + ", ".join(sorted(names))
        )
    problem = known.problem(home, name, value)
    if problem:
        raise Failure(f"{name}", found=repr(value), needed=problem)
