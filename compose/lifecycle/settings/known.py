"""Which settings there are, and what each may be."""

from __future__ import annotations

import ipaddress
import re
import secrets
import ssl
import string
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from labelloop import ranges
from labelloop.database_place import DatabasePlace
from lifecycle.home import Home

MEMORY_LIMITS = ("TRAINER_MEMORY", "MLBACKEND_MEMORY")
_CHOICES = {"RUNTIME": ("auto", "docker", "host"), "ACCELERATOR": ("auto", "cpu", "cuda")}
DATABASE = "DATABASE"
CLUSTERS = NO_CLUSTER, RAY = "none", "ray"
DATABASES = SQLITE, POSTGRES = "sqlite", "postgres"
_PORTS = ("PORT", "DASHBOARD_PORT", "MLBACKEND_PORT", "TRAINER_PORT", "DATABASE_PORT", "CLUSTER_PORT")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY")
_ADDRESS = r"[^@\s,]+@(localhost|[^@\s.,]+(\.[^@\s.,]+)+)"
_PATTERNS = {
    **dict.fromkeys(
        MEMORY_LIMITS, (r"0|[1-9]\d*[mg]", "megabytes or gigabytes such as 2560m or 6g; 0 for no limit")
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
    **dict.fromkeys(
        ("PUBLIC_URL", "PUBLIC_DASHBOARD_URL"),
        (
            ranges.PUBLIC_URL,
            "http:// or https:// and a host, without a path, for example https://labels.example.com",
        ),
    ),
}
_PATTERNS.update(
    {
        "IMAGES": (
            ranges.IMAGES,
            "a bucket, with or without a prefix, such as s3://photos/line-3",
        ),
        "S3_ENDPOINT": (
            ranges.S3_ENDPOINT,
            "an S3 server's URL without a path, such as http://minio.lan:9000",
        ),
        "S3_REGION": (ranges.S3_REGION, "a region's name, such as eu-central-1"),
        "USER_AGENT": (
            f"({ranges.USER_AGENTS})?",
            "letters, digits, blanks and ._/:;,()+@=-, such as photos/1 (ann@example.org)",
        ),
        "IMAGE_HOSTS": (
            ranges.IMAGE_HOSTS,
            "scheme, host and port without a path, such as https://minio.lan:9000; with commas between them",
        ),
        **dict.fromkeys(PROXIES, (ranges.PROXY, "a proxy's URL, such as http://proxy.example.com:3128")),
        "TORCH_CUDA_ARCH_LIST": (
            r"(\d{1,2}\.\d[a-z]?(\+PTX)?([; ]\d{1,2}\.\d[a-z]?(\+PTX)?)*)?",
            "a GPU's compute capability such as 8.6, which `nvidia-smi --query-gpu=compute_cap` prints; "
            "several as 8.6;9.0",
        ),
        "NO_PROXY": (r"[A-Za-z0-9.*:,/_\[\] -]*", "hosts, domains and networks with commas between them"),
        "REGISTRY": (
            r"([a-z0-9.-]+(:\d{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+)?",
            "a registry and a prefix in lower case, without https://, such as registry.example.com/labelloop",
        ),
    }
)
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LAST_RUNTIME = "LAST_RUNTIME"
"""Of .env: what RUNTIME=auto came to. An engine that comes, goes or is slow does not move a stack."""
LAST_DATABASE = "LAST_DATABASE"
"""Of .env: the engine that the labels are on, sqlite or postgres; another one has to take them over."""
FROM_ENVIRONMENT = (*_CHOICES, "COMPOSE_PROJECT_NAME")
HOST_SETTINGS = (
    *_CHOICES,
    *_PORTS,
    "THREADS",
    "TRAINING_PROCESSES",
    *MEMORY_LIMITS,
    "BIND",
    "SUBNET",
    "COMPOSE_PROJECT_NAME",
    "ADMIN_EMAIL",
    "TORCH_CUDA_ARCH_LIST",
    "REGISTRY",
    "DATABASE",
    "DATABASE_URL",
    "DATABASE_CA",
    "REPLICAS",
    "BACKENDS",
    "CLUSTER",
    "CLUSTER_BIND",
)
# What else docker-compose.yml and Compose itself take from the environment before they look into .env.
FOR_COMPOSE = (
    "PUID",
    "PGID",
    "SECRETS_STAMP",
    "PROGRAMS_STAMP",
    "BASE_INPUTS",
    "LABELSTUDIO_INPUTS",
    "MLBACKEND_INPUTS",
    "TRAINER_INPUTS",
    "BACKUP_INPUTS",
    "BACKUP_VERSION",
    "FRONT_INPUTS",
    "FRONT_VERSION",
    "CLUSTER_INPUTS",
    "CLUSTER_VERSION",
    "CLUSTER_CODE",
    "CLUSTER_HEAD",
    "CLUSTER_GATEWAY",
    "CLUSTER_STUDIO",
    "BASE_VERSION",
    "LABELSTUDIO_VERSION",
    "MLBACKEND_VERSION",
    "TRAINER_VERSION",
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
    "DATABASE_PASSWORD": lambda: secrets.token_urlsafe(24),
    "CLUSTER_TOKEN": lambda: secrets.token_urlsafe(48),
}
GIVEN_SECRETS = ("S3_ACCESS_KEY", "S3_SECRET_KEY")
"""Secrets that somebody else made and the operator puts into .env. They may be empty."""
ALL_SECRETS = (*SECRETS, *GIVEN_SECRETS)


def problem(home: Home, name: str, value: str) -> Optional[str]:
    """What a setting of that name has to be; None when `value` is possible."""
    if name in _CHOICES and value not in _CHOICES[name]:
        return "one of " + ", ".join(_CHOICES[name])
    if name == "DATABASE" and value not in DATABASES:
        return "one of " + ", ".join(DATABASES)
    if name == "CLUSTER" and value not in CLUSTERS:
        return "one of " + ", ".join(CLUSTERS)
    if (
        name == "CLUSTER_BIND"
        and value
        and not (_is_ipv4(ipaddress.IPv4Address, value) and _is_of_one_host(value))
    ):
        return "an IPv4 address of this host that the other machines reach, such as 192.168.1.20"
    if name == "DATABASE_URL" and value:
        return _url_problem(value)
    if name in _PATTERNS and not re.fullmatch(_PATTERNS[name][0], value):
        return _PATTERNS[name][1]
    if name in ranges.WHOLE_NUMBERS and not (name == "TRAINING_PROCESSES" and value == "auto"):
        lowest, highest = ranges.WHOLE_NUMBERS[name]
        if not (re.fullmatch("[0-9]{1,9}", value) and lowest <= int(value) <= highest):
            also = "; or auto" if name == "TRAINING_PROCESSES" else ""
            return f"a whole number from {lowest} to {highest}{also}"
    if name in ranges.NUMBERS:
        least, most = ranges.NUMBERS[name]
        if not (
            re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9}", value) and least <= float(value) <= most
        ):
            return f"a number from {least:g} to {most:g}"
    if name == "ADOPT_PROJECTS" and not (ranges.says_yes_or_no(value) or value.strip().lower() == "all"):
        return f"{ranges.YES_OR_NO}; or all"
    if name == "INSTANT" and not ranges.says_yes_or_no(value):
        return ranges.YES_OR_NO
    if name == "COSTS" and value not in ranges.COSTS:
        return "one of " + ", ".join(ranges.COSTS)
    if name == "LOG_LEVEL" and value.upper() not in _LOG_LEVELS:
        return "one of " + ", ".join(_LOG_LEVELS)
    if name == "LABEL_CONFIG" and not _is_file_below(home.root, value):
        return "a file below the repository, for example configs/labels/face.xml"
    if name in ("CA_BUNDLE", "DATABASE_CA") and value:
        return certificate_problem(home, value)
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


def _url_problem(value: str) -> Optional[str]:
    try:
        DatabasePlace.parse(value)
    except ValueError as error:
        return str(error)
    return None


def certificate_problem(home: Home, value: str) -> Optional[str]:
    """What CA_BUNDLE and DATABASE_CA have to be; None when it is a file of certificates below configs/."""
    if not _is_file_below(home.root / "configs", str(Path("..") / value)):
        return "a file below configs/, which the services see, for example configs/company-ca.pem"
    try:
        ssl.create_default_context(cafile=str(home.root / value))
    except (OSError, ValueError):  # ssl.SSLError is an OSError
        return "certificates in PEM, which begin with -----BEGIN CERTIFICATE-----"
    return None


def _is_ipv4(kind: Callable[[str], object], value: str) -> bool:
    """An address or a network, written as everybody writes it."""
    try:
        return str(kind(value)) == value
    except ValueError:
        return False


def _is_of_one_host(value: str) -> bool:
    """Whether an address is neither all of this host's nor one that only itself reaches."""
    address = ipaddress.IPv4Address(value)
    return not (address.is_unspecified or address.is_loopback or address.is_multicast)


def _is_file_below(root: Path, relative: str) -> bool:
    try:
        path = (root / relative).resolve()
        return path.is_file() and root.resolve() in path.parents
    except (OSError, ValueError):  # a name that is too long, or has a null byte
        return False
