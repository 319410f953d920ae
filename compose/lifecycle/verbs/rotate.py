"""`make rotate-secrets`: new secrets into .env in one step; the rest is what `make up` does with a change."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from lifecycle.console import Failure, heading, line, note
from lifecycle.home import Home
from lifecycle.runtime.runtime import running_stack
from lifecycle.settings import env_file
from lifecycle.settings import settings as settings_module
from lifecycle.settings.given import is_yes
from lifecycle.settings.known import SECRETS
from lifecycle.verbs.up import build_ahead, up


def rotate(home: Home, given: Mapping[str, str]) -> None:
    """Replaces every secret but the admin's password (that one too with ADMIN=1) and restarts what runs.

    Everything is built before that, since nothing reaches the running services while .env has other secrets.
    Data stays. Sessions of Label Studio and of the dashboard end, and so do Label Studio's personal access
    tokens, which SECRET_KEY signs. Killed half-way, the next `make up` finishes it: the services follow .env.

    Raises:
        Failure: there is no .env yet, ADMIN is neither yes nor no, or whatever `make up` meets.
    """
    admin = is_yes(given, "ADMIN")
    if not home.env_file.exists():
        raise Failure("make rotate-secrets", found=f"no {home.env_file}", do="`make up` writes it.")
    runs = bool(running_stack(home, settings_module.load(home)).states())
    if runs:
        build_ahead(home)
    heading("Secrets")
    elsewhere = bool(settings_module.load(home).get("DATABASE_URL"))
    for name in replace_secrets(home, admin=admin, database=not elsewhere):
        line(name, f"new, in {home.env_file.name}")
    if elsewhere:
        note("DATABASE_PASSWORD stays: change it at the server of DATABASE_URL, then in .env")
    if settings_module.load(home).cluster:
        shutil.rmtree(home.cluster, ignore_errors=True)
        if home.join_file.exists():
            raise Failure(
                f"{home.cluster}",
                found="files that this user may not delete, so the former join file still lets machines in",
                needed="none",
                do=f"`sudo rm -r {home.cluster}` and `make up`, which makes the cluster's keys anew.",
            )
        home.cluster_mark.unlink(missing_ok=True)
        note("the cluster gets a new authority: copy the new join file to the other machines, and join again")
    if runs:
        up(home, {})
    else:
        note("nothing runs: `make up` starts with the new ones")


def replace_secrets(home: Home, *, admin: bool, database: bool = True) -> list[str]:
    """Puts new values into .env, all or none; the stack's own PostgreSQL takes its one at the next start.

    Returns: the names of the secrets.
    """
    kept = {*([] if admin else ["ADMIN_PASSWORD"]), *([] if database else ["DATABASE_PASSWORD"])}
    names = [name for name in SECRETS if name not in kept]
    fresh = {name: SECRETS[name]() for name in names}
    env_file.update(home.env_file, fresh, header=settings_module.ENV_HEADER, mode=0o600)
    return names
