"""`make upgrade`: from what runs to what the checkout holds, with a way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

from lifecycle.backup.unpack import verify
from lifecycle.build import images
from lifecycle.console import Failure, heading, line, note
from lifecycle.engine import SERVICES
from lifecycle.home import Home
from lifecycle.runtime import volumes
from lifecycle.runtime.runtime import HOST, Stack, choose_accelerator, choose_runtime, running_stack
from lifecycle.settings import settings as settings_module
from lifecycle.shell import answer
from lifecycle.verbs.backup import write_archive
from lifecycle.verbs.restore import put_in, stop
from lifecycle.verbs.up import build, build_ahead, up

_CHECKOUT = (
    "The checkout still holds the new version, which the next `make up` would build: "
    "`git checkout` the former one first (after a `git pull`, ORIG_HEAD)."
)


def upgrade(home: Home, given: Mapping[str, str]) -> None:
    """Build, stop, backup, start (the first boot migrates), health. `git pull` comes before; no git here.

    People can label during the build, which takes long. The backup is made after the stop, so that going back
    loses none of their work. Under Docker the images that ran keep the tag `previous`. The host runtime's
    environments are rebuilt in place. One that has to be made anew is built after the backup, since the
    running programs need it until then; going back restores the state alone, not the environment.

    Raises:
        Failure: the build or the backup failed, and what ran runs on or again; or the new version doesn't get
            healthy, and the former images run on the former state. The state that they replace is kept.
    """
    settings = settings_module.load(home)
    runtime = choose_runtime(settings)
    accelerator = choose_accelerator(settings, runtime)
    services = (*SERVICES, *((images.CLUSTER,) if settings.cluster else ()))
    kept = _keep_images(accelerator, services) if runtime != HOST else []
    try:
        built = build_ahead(home)
    except Failure as error:
        _bring_back(kept, accelerator)
        raise Failure(f"{error}\nNothing was upgraded; what ran runs on") from error
    heading("Stop, and back up")
    ran = True
    try:
        ran = stop(home)
        archive = write_archive(home, _stack(home)) if home.has_labels else None
    except Exception as error:
        _bring_back(kept, accelerator)
        raise _not_begun(home, error, ran) from error
    except KeyboardInterrupt:
        _bring_back(kept, accelerator)
        note("stopped, and nothing was upgraded; `make upgrade` tries again")
        raise
    if not built:
        _build_behind(home)
    try:
        up(home, {})
    except Exception as error:
        raise _way_back(home, archive, kept, accelerator, error) from error
    line("upgraded", "the former state is in the backup" if archive else "there was no state yet")
    if settings.cluster_bind:
        note(
            "the machines of the cluster have the former version: check the new one out there, and join again"
        )


def _build_behind(home: Home) -> None:
    """The environments, when nothing runs on them any more.

    Raises:
        Failure: the build failed; the state is untouched, but nothing can run.
    """
    try:
        build(home, {})
    except Failure as error:
        raise Failure(
            f"{error}\nThe state is as it was, but an environment is not whole, so nothing runs",
            do="Mend that and `make upgrade` again; or `git checkout` the former version, then `make up`.",
        ) from error


def _stack(home: Home) -> Stack:
    return running_stack(home, settings_module.load(home))


def _not_begun(home: Home, error: Exception, ran: bool) -> Failure:
    """The failure to raise when there is no backup: nothing is changed, and what ran is started again."""
    if not ran:
        return Failure(f"{error}\nNothing was upgraded")
    heading("There is no backup, so no upgrade. Starting what ran.")
    try:
        _stack(home).start()
    except Failure as second:
        return Failure(f"{error}\nNothing was upgraded, but what ran does not start again: {second}")
    return Failure(f"{error}\nNothing was upgraded; what ran runs again")


def _keep_images(accelerator: str, services: Sequence[str]) -> list[str]:
    """Tags the services' images as previous. Returns: the services that have one."""
    kept = [
        service
        for service in services
        if answer(["docker", "tag", images.image_name(service, accelerator), _previous(service)]) is not None
    ]
    line("images", f"{', '.join(kept) or 'none'} kept as previous")
    return kept


def _bring_back(services: list[str], accelerator: str) -> None:
    for service in services:
        answer(["docker", "tag", _previous(service), images.image_name(service, accelerator)])


def _previous(service: str) -> str:
    return f"labelloop/{service}:previous"


def _way_back(
    home: Home, archive: Optional[Path], kept: list[str], accelerator: str, error: Exception
) -> Failure:
    heading("The new version did not come up. Going back.")
    note((str(error) or repr(error)).splitlines()[0])
    what = f"the new version did not come up: {error}\n"
    if archive is None:
        return Failure(what, do="There was no state to go back to.")
    try:
        stop(home)
        _bring_back(kept, accelerator)
        replaced = put_in(home, archive, verify(archive))
        settings = settings_module.load(home)
        volumes.prepare_volumes(home, settings.containers_user if kept else None)
        running_stack(home, settings).start()
    except Failure as second:
        return Failure(f"{what}The former version did not start either: {second}\nThe backup is {archive}")
    what = f"{what}What it left is {replaced.told}.\n"
    if kept:
        return Failure(f"{what}The former images run on the former state ({archive.name})", do=_CHECKOUT)
    return Failure(f"{what}The former state ({archive.name}) is back and runs on the new code", do=_CHECKOUT)
