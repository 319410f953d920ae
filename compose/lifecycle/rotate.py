"""`make rotate-secrets`: new secrets into .env in one step; the rest is what `make up` does with a change."""

from __future__ import annotations

from collections.abc import Mapping

from lifecycle import env_file
from lifecycle import settings as settings_module
from lifecycle.console import Failure, heading, line, note
from lifecycle.home import Home
from lifecycle.runtime import running_stack
from lifecycle.up import build_ahead, up


def rotate(home: Home, given: Mapping[str, str]) -> None:
    """Replaces every secret but the admin's password (that one too with ADMIN=1) and restarts what runs.

    What is to be built is built before: while .env has other secrets than what runs, nothing reaches it.
    Data stays. Sessions of Label Studio and of the dashboard end, and so do Label Studio's personal access
    tokens, which SECRET_KEY signs. Killed half-way, the next `make up` finishes it: the services follow .env.

    Raises:
        Failure: there is no .env yet, ADMIN is neither 0 nor 1, or whatever `make up` meets.
    """
    if given.get("ADMIN", "0") not in ("0", "1"):
        raise Failure(
            "make rotate-secrets",
            found=f"ADMIN={given['ADMIN']}",
            needed="nothing, or ADMIN=1 for a new password of the admin's as well",
        )
    if not home.env_file.exists():
        raise Failure("make rotate-secrets", found=f"no {home.env_file}", do="`make up` writes it.")
    runs = bool(running_stack(home, settings_module.load(home)).states())
    if runs:
        build_ahead(home)
    heading("Secrets")
    for name in replace_secrets(home, admin=given.get("ADMIN") == "1"):
        line(name, f"new, in {home.env_file.name}")
    if runs:
        up(home, {})
    else:
        note("nothing runs: `make up` starts with the new ones")


def replace_secrets(home: Home, *, admin: bool) -> list[str]:
    """Puts new values into .env, all or none. Returns: the names of the secrets."""
    names = [name for name in settings_module.SECRETS if admin or name != "ADMIN_PASSWORD"]
    fresh = {name: settings_module.SECRETS[name]() for name in names}
    env_file.update(home.env_file, fresh, header=settings_module.ENV_HEADER, mode=0o600)
    return names
