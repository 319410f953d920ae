"""Provisions Label Studio, and waits until it can.

    python -m provisioner [--wait SECONDS]

Exit status: 0 done; 1 given up after SECONDS; 3 done, but the label config was refused and the project keeps
its labels; 4 Label Studio refuses the token, which no waiting changes.
"""

import argparse
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labelloop.errors import Explained
from labelloop.labels import LabelConfigError
from labelloop.layout import PROVISIONED_FILE
from labelloop.locks import Busy, holding
from labelloop.settings import MissingSecret, Settings, get_settings
from labelloop.studio import StudioError
from provisioner import logs
from provisioner.backend import BackendNotReady
from provisioner.project import ProjectError
from provisioner.provision import provision
from provisioner.state import State, StateFile

log = logging.getLogger("provisioner")

RETRY_S = 2.0
REPEAT_MESSAGE_S = 30.0
GIVEN_UP, REFUSED, TOKEN_REFUSED = 1, 3, 4
UNAUTHORIZED = 401


class GivenUp(Explained):
    """The time was over; the message is the last reason."""


class TokenRefused(Explained):
    """The account has another token than API_TOKEN: Label Studio sets ours at its start alone."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m provisioner", description=__doc__.splitlines()[0] if __doc__ else None
    )
    parser.add_argument(
        "--wait", type=float, default=float("inf"), metavar="SECONDS", help="give up then; default: never"
    )
    deadline = time.monotonic() + parser.parse_args().wait
    logs.configure()
    settings = get_settings()
    try:
        with only_one(settings.labelstudio_dir / ".provisioner.lock", deadline):
            state = provision_until_done(settings, deadline)
    except (GivenUp, MissingSecret) as error:
        print(f"not provisioned: {error}", file=sys.stderr)
        sys.exit(GIVEN_UP)
    except TokenRefused as error:
        print(f"not provisioned: {error}", file=sys.stderr)
        sys.exit(TOKEN_REFUSED)
    if state.problem:
        print(state.problem, file=sys.stderr)
        sys.exit(REFUSED)
    log.info(
        "project %s, storage %s and backend %s are provisioned", state.project, state.storage, state.backend
    )


def provision_until_done(settings: Settings, deadline: float) -> State:
    """Tries until all is there. Each reason to wait is logged once, and again after a while.

    Raises:
        GivenUp: the deadline (of time.monotonic) has passed.
        TokenRefused: Label Studio does not take API_TOKEN.
    """
    file = StateFile(settings.provisioned_path)
    said, said_at = "", 0.0
    while True:
        try:
            return provision(settings, file)
        except (LabelConfigError, ProjectError) as error:
            reason = str(error)
            file.update(problem=reason, done=False)
        except (StudioError, BackendNotReady) as error:
            reason = str(error)
            if isinstance(error, StudioError) and error.status == UNAUTHORIZED:
                reason = f"API_TOKEN was reset in Label Studio, `make restart` sets it again: {reason}"
                file.update(waiting=reason, done=False)
                raise TokenRefused(reason) from error
            file.update(waiting=reason, done=False)
        except Exception as error:
            file.update(waiting=f"{type(error).__name__}: {error}", done=False)
            raise
        if time.monotonic() + RETRY_S > deadline:
            raise GivenUp(reason)
        if reason != said or time.monotonic() - said_at > REPEAT_MESSAGE_S:
            log.info("waiting: %s", reason)
            said, said_at = reason, time.monotonic()
        time.sleep(RETRY_S)


@contextmanager
def only_one(lock: Path, deadline: float) -> Iterator[None]:
    """Waits for another provisioner to finish; the kernel lets go of a killed one's lock.

    Raises:
        GivenUp: the deadline (of time.monotonic) has passed; what the other one waits for is the reason.
    """
    try:
        with holding(lock, deadline - time.monotonic()):
            yield
    except Busy:
        waiting = StateFile(lock.with_name(PROVISIONED_FILE)).state.waiting
        raise GivenUp(waiting or f"another provisioner is still at work ({lock})") from None


if __name__ == "__main__":
    main()
