"""The settings of this checkout: generated into .env, given on the make command line, or edited by hand."""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import string
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Optional

from labelloop import layout, ranges
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.inputs import inputs_hash
from lifecycle.settings import env_file, network

UNPRIVILEGED_ID = 10001
"""Runs the containers of a checkout of root's."""

ENV_HEADER = """\
# Written by `make up`: secrets, ports and facts of this host. Mode 600, not in git. Change a port here or by
# `make up PORT=…`. `make up` applies what is changed here, ADMIN_PASSWORD too.
# `make rotate-secrets` makes new secrets."""
_LOCAL_HEADER = """\
# Your settings of the loop; they win over configs/loop.env, which explains them.
# `make up NAME=VALUE` writes them here."""

_CHOICES = {"RUNTIME": ("auto", "docker", "host"), "ACCELERATOR": ("auto", "cpu", "cuda")}
# The share of the host's memory that a service may take, and what it may in any case, in MiB: the host is
# spared a process that grows without end, and a small one still trains.
_MEMORY = {"TRAINER_MEMORY": (0.8, 2560), "MLBACKEND_MEMORY": (0.5, 1536)}
_PORTS = ("PORT", "DASHBOARD_PORT", "MLBACKEND_PORT", "TRAINER_PORT")
_ADDRESS = r"[^@\s,]+@(localhost|[^@\s.,]+(\.[^@\s.,]+)+)"
_PATTERNS = {
    **dict.fromkeys(
        _MEMORY, (r"0|[1-9]\d*[mg]", "megabytes or gigabytes such as 2560m or 6g; 0 for no limit")
    ),
    "ADMIN_EMAIL": (
        _ADDRESS,
        "an e-mail address, which Label Studio's login asks for, such as admin@labelloop.local",
    ),
    "ADMINS": (
        rf"({_ADDRESS}(,{_ADDRESS})*)?",
        "e-mail addresses of Label Studio's users with commas between them, such as ann@x.org,bob@y.org",
    ),
    "COMPOSE_PROJECT_NAME": (r"[a-z0-9][a-z0-9_-]*", "lower-case letters, digits, - and _"),
    "PROJECT_TITLE": (r"\S.{1,48}\S", "3 to 50 characters, without blanks around them"),
    "PUBLIC_URL": (
        ranges.PUBLIC_URL,
        "http:// or https:// and a host, without a path, for example https://labels.example.com",
    ),
}
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LAST_RUNTIME = "LAST_RUNTIME"
"""Of .env: what RUNTIME=auto came to. An engine that comes, goes or is slow does not move a stack."""
# What the services' programs read once; see the label labelloop.programs in docker-compose.yml.
_PROGRAMS = ("configs/gunicorn", "configs/supervisor")
FROM_ENVIRONMENT = (*_CHOICES, "COMPOSE_PROJECT_NAME")
_HOST_SETTINGS = (
    *_CHOICES,
    *_PORTS,
    "THREADS",
    *_MEMORY,
    "BIND",
    "SUBNET",
    "COMPOSE_PROJECT_NAME",
    "ADMIN_EMAIL",
    "TORCH_CUDA_ARCH_LIST",
)
# What else docker-compose.yml and Compose itself take from the environment before they look into .env.
_FOR_COMPOSE = (
    "PUID",
    "PGID",
    "SECRETS_STAMP",
    "PROGRAMS_STAMP",
    "BASE_INPUTS",
    "LABELSTUDIO_INPUTS",
    "MLBACKEND_INPUTS",
    "TRAINER_INPUTS",
    "COMPOSE_ACCELERATOR",
    "COMPOSE_FILE",
    "COMPOSE_PATH_SEPARATOR",
    "COMPOSE_PROFILES",
    "COMPOSE_ENV_FILES",
    "COMPOSE_DISABLE_ENV_FILE",
)


def _password() -> str:
    alphabet = string.ascii_letters + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(20))


SECRETS: dict[str, Callable[[], str]] = {
    "ADMIN_PASSWORD": _password,
    "API_TOKEN": lambda: secrets.token_hex(20),
    "SECRET_KEY": lambda: secrets.token_urlsafe(48),
    "BACKEND_PASSWORD": lambda: secrets.token_urlsafe(24),
    "TRAINER_PASSWORD": lambda: secrets.token_urlsafe(24),
    "DASHBOARD_SECRET": lambda: secrets.token_urlsafe(48),
}


def given_to_make(words: str) -> list[str]:
    """`NAME=VALUE` arguments from make's MAKEOVERRIDES: a \\ before each blank and \\, each $ twice."""
    quoted = re.findall(r"(?:\\.|[^\\ ])+", words, re.DOTALL)
    return [re.sub(r"[\\$](.)", r"\1", word, flags=re.DOTALL) for word in quoted]


def parse_arguments(arguments: list[str]) -> dict[str, str]:
    """`NAME=VALUE` arguments as a mapping.

    Raises:
        Failure: one of them is something else.
    """
    given: dict[str, str] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or not name.isidentifier():
            raise Failure(
                "the command line",
                found=repr(argument),
                needed="NAME=VALUE",
                do="`make` lists what there is.",
            )
        given[name] = value
    return given


def is_yes(given: Mapping[str, str], name: str, *, otherwise: bool = False) -> bool:
    """Whether a setting that is either yes or no says yes; `otherwise` where it isn't given.

    Raises:
        Failure: it says neither.
    """
    if name not in given:
        return otherwise
    try:
        return ranges.yes(given[name])
    except ValueError as error:
        raise Failure(name, found=repr(given[name]), needed=ranges.YES_OR_NO) from error


def forget_the_shells() -> None:
    """Takes what .env decides out of the environment, which Compose would prefer."""
    for name in (*_HOST_SETTINGS, *_FOR_COMPOSE):
        if name not in FROM_ENVIRONMENT:
            os.environ.pop(name, None)


def load(home: Home) -> dict[str, str]:
    """Every setting in force. The later wins: configs/loop.env, configs/local.env, .env, the environment.

    Of the environment, only RUNTIME, ACCELERATOR and COMPOSE_PROJECT_NAME count.
    """
    files = (home.shipped_settings, home.local_settings, home.env_file)
    settings = {name: value for path in files for name, value in env_file.read(path).items()}
    settings.update({name: os.environ[name] for name in FROM_ENVIRONMENT if os.environ.get(name)})
    return settings


def check(home: Home, given: Mapping[str, str]) -> None:
    """Whether settings given on the command line can be kept.

    Raises:
        Failure: an unknown name or an impossible value among settings given on the command line.
    """
    known = [*_HOST_SETTINGS, *env_file.read(home.shipped_settings)]
    for name, value in given.items():
        _check(home, name, value, known)


def check_stored(home: Home, given: Mapping[str, str]) -> None:
    """The settings that stand in files, or in the environment, and that none of `given` replaces.

    Raises:
        Failure: one of them has an impossible value.
    """
    files = (home.env_file, home.local_settings, home.shipped_settings)
    for name, value in load(home).items():
        problem = _problem(home, name, value) if value and name not in given else None
        if problem:
            where = next((str(path) for path in files if name in env_file.read(path)), "the environment")
            raise Failure(f"{name} in {where}", found=repr(value), needed=problem, do="Correct it there.")


def move_dashboard(home: Home, given: Mapping[str, str]) -> dict[str, str]:
    """`given`, where PORT takes DASHBOARD_PORT along unless that was given a place of its own."""
    have = load(home)
    port = have.get("PORT", "")
    follows = port.isdecimal() and have.get("DASHBOARD_PORT") == str(dashboard_port({"PORT": port}))
    return {
        **({"DASHBOARD_PORT": str(dashboard_port(given))} if follows and "PORT" in given else {}),
        **given,
    }


def keep(home: Home, given: Mapping[str, str]) -> list[str]:
    """Keeps settings given on the command line (see `check`).

    Returns: a line for each one that changed, to print.
    """
    loop_names = env_file.read(home.shipped_settings)
    before = load(home)
    local = {name: value for name, value in given.items() if name in loop_names}
    host = {name: value for name, value in given.items() if name not in loop_names}
    if local or not home.local_settings.exists():
        env_file.update(home.local_settings, local, header=_LOCAL_HEADER, mode=0o644)
    if host:
        env_file.update(home.env_file, host, header=ENV_HEADER, mode=0o600)
    files = {name: home.local_settings if name in loop_names else home.env_file for name in given}
    return [
        f"{name}={given[name]} is kept in {files[name].relative_to(home.root)}"
        for name in given
        if before.get(name) != given[name]
    ]


def complete(home: Home, *, host_runtime: bool, accelerator: str) -> list[str]:
    """Generates what .env lacks and brings the facts of this host in it up to date; all else in it stays.

    The host runtime gets ports for the services that Docker doesn't publish.

    Returns: the names that were written.
    """
    have = env_file.read(home.env_file)
    uid, gid = services_user(home)
    defaults: dict[str, Callable[[], str]] = {
        "COMPOSE_PROJECT_NAME": lambda: os.environ.get("COMPOSE_PROJECT_NAME") or "labelloop",
        "BIND": lambda: "127.0.0.1",
        "PORT": lambda: str(layout.LABELSTUDIO_PORT),
        "DASHBOARD_PORT": lambda: str(dashboard_port(have)),
        "SUBNET": network.free_subnet,
        "PUID": lambda: str(uid),
        "PGID": lambda: str(gid),
        "THREADS": lambda: str(_cores()),
        "TRAINER_MEMORY": lambda: _memory_limit("TRAINER_MEMORY"),
        "MLBACKEND_MEMORY": lambda: _memory_limit("MLBACKEND_MEMORY"),
        "ADMIN_EMAIL": lambda: "admin@labelloop.local",
        **SECRETS,
    }
    if host_runtime:
        defaults["MLBACKEND_PORT"] = lambda: str(network.free_port(layout.MLBACKEND_PORT))
        defaults["TRAINER_PORT"] = lambda: str(network.free_port(layout.TRAINER_PORT))
    changes = {name: make() for name, make in defaults.items() if not have.get(name)}
    compose_file = "docker-compose.yml:compose/gpu.yml" if accelerator == "cuda" else "docker-compose.yml"
    facts = {
        "COMPOSE_FILE": compose_file,
        "COMPOSE_ACCELERATOR": accelerator,
        LAST_RUNTIME: "host" if host_runtime else "docker",
        "PROGRAMS_STAMP": inputs_hash(home.root, _PROGRAMS),
    }
    changes.update({name: value for name, value in facts.items() if have.get(name) != value})
    if changes:
        env_file.update(home.env_file, changes, header=ENV_HEADER, mode=0o600)
    if home.env_file.stat().st_mode & 0o077:
        home.env_file.chmod(0o600)
    return list(changes)


def browser_url(settings: Mapping[str, str], port: str) -> str:
    """What is published on the port of that name, for a browser on this host, or one that reaches BIND."""
    host = settings["BIND"] if settings["BIND"] not in ("0.0.0.0", "127.0.0.1") else "localhost"
    return f"http://{host}:{settings[port]}"


def services_user(home: Home) -> tuple[int, int]:
    """Our own user and group; for root the checkout's owner's, so that `sudo make up` shuts nobody out."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    owner = home.root.stat()
    return (owner.st_uid, owner.st_gid) if owner.st_uid != 0 else (UNPRIVILEGED_ID, UNPRIVILEGED_ID)


def dashboard_port(settings: Mapping[str, str]) -> int:
    """DASHBOARD_PORT; where that isn't settled yet, the one behind Label Studio's."""
    port = int(settings.get("PORT") or layout.LABELSTUDIO_PORT)
    return int(settings.get("DASHBOARD_PORT") or layout.default_dashboard_port(port))


def _check(home: Home, name: str, value: str, known: list[str]) -> None:
    if name in SECRETS:
        raise Failure(
            f"{name} is a secret",
            do=f"Put it into {home.env_file} before the first `make up`; a command line is no place for it.",
        )
    if name not in known:
        raise Failure(
            f"the setting {name}", found="no such setting", needed="one of " + ", ".join(sorted(known))
        )
    problem = _problem(home, name, value)
    if problem:
        raise Failure(f"{name}", found=repr(value), needed=problem)


def _problem(home: Home, name: str, value: str) -> Optional[str]:
    if name in _CHOICES and value not in _CHOICES[name]:
        return "one of " + ", ".join(_CHOICES[name])
    if name in _PATTERNS and not re.fullmatch(_PATTERNS[name][0], value):
        return _PATTERNS[name][1]
    if name in ranges.WHOLE_NUMBERS:
        lowest, highest = ranges.WHOLE_NUMBERS[name]
        if not (re.fullmatch("[0-9]{1,9}", value) and lowest <= int(value) <= highest):
            return f"a whole number from {lowest} to {highest}"
    if name in ranges.NUMBERS:
        least, most = ranges.NUMBERS[name]
        if not (
            re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}", value) and least <= float(value) <= most
        ):
            return f"a number from {least:g} to {most:g}"
    if name == "ADOPT_PROJECTS" and not ranges.says_yes_or_no(value):
        return ranges.YES_OR_NO
    if name == "LOG_LEVEL" and value.upper() not in _LOG_LEVELS:
        return "one of " + ", ".join(_LOG_LEVELS)
    if name == "LABEL_CONFIG" and not _is_file_below(home.root, value):
        return "a file below the repository, for example configs/labels/face.xml"
    if name == "DETECTOR":
        there = sorted(path.stem for path in (home.root / "configs" / "detectors").glob("[!_]*.py"))
        if value not in ("auto", *there):
            return "one of " + ", ".join(["auto", *there])
    if name == "BIND" and not _is_ipv4(ipaddress.IPv4Address, value):
        return "an IPv4 address of this host, such as 127.0.0.1; 0.0.0.0 is all of them"
    is_network = name == "SUBNET" and _is_ipv4(ipaddress.IPv4Network, value)
    if name == "SUBNET" and not (is_network and int(value.partition("/")[2]) <= 28):
        return "an IPv4 network of at least 16 addresses, by its first one, such as 10.213.5.0/24"
    return None


def _is_ipv4(kind: Callable[[str], object], value: str) -> bool:
    """An address or a network, written as everybody writes it."""
    try:
        return str(kind(value)) == value
    except ValueError:
        return False


def _is_file_below(root: Path, relative: str) -> bool:
    try:
        path = (root / relative).resolve()
        return path.is_file() and root.resolve() in path.parents
    except (OSError, ValueError):  # a name that is too long, or has a null byte
        return False


def _cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_limit(name: str) -> str:
    """As Compose writes it, for example 6144m; 0, no limit, where the host's memory isn't known."""
    share, least = _MEMORY[name]
    total = host_memory() / 2**20
    return f"{max(int(total * share), least)}m" if total else "0"


def host_memory() -> float:
    """In bytes; 0 where it can't be told."""
    if sys.platform != "linux":
        return 0.0
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
