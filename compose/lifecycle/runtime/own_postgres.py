"""The host runtime's own PostgreSQL, run alone for what needs it while the stack is stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lifecycle.console import Failure
from lifecycle.database.client import Database
from lifecycle.home import Home
from lifecycle.runtime import orphans

STOP_SECONDS = 90.0
_LAST_WORDS = 20


@contextmanager
def serving(home: Home, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Starts the server, waits until it lets Label Studio in, and stops it behind the block.

    If we are killed, the next start of the stack ends it: it carries the stack's mark.

    Raises:
        Failure: it does not start; its last words are in the message.
    """
    with log.open("ab") as said:
        server = subprocess.Popen(
            [sys.executable, "-m", "lifecycle.postgres_service"],
            cwd=home.root,
            env={**environment, orphans.MARK: str(home.run)},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        database = Database.of(home, environment)
        assert database is not None, "who has a server of its own has a DATABASE_URL"
        try:
            database.wait(still=lambda: server.poll() is None)
        except Failure as error:
            words = "\n".join(log.read_text(errors="replace").splitlines()[-_LAST_WORDS:])
            raise Failure(f"{error.text} Its last words:\n\n{words}\n", do=error.do) from error
        yield
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
