"""The host runtime's supervisord: what it has given up on gets another try."""

import pytest

from lifecycle.home import Home
from lifecycle.host_stack import HostStack

STATUS = """\
labelstudio    RUNNING   pid 11, uptime 0:05:00
provisioner    EXITED    Nov 23 02:00 AM
worker         FATAL     Exited too quickly (process log may have details)
web            FATAL     Exited too quickly (process log may have details)
"""


@pytest.mark.parametrize("status, started", [(STATUS, [("start", "worker", "web")]), ("", [])])
def test_up_starts_programs_that_ended_again_and_again(
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: str,
    started: list[tuple[str, ...]],
) -> None:
    asked: list[tuple[str, ...]] = []

    def supervisorctl(stack: HostStack, *command: str) -> str:
        if command != ("status",):
            asked.append(command)
        return status

    monkeypatch.setattr(HostStack, "_supervisorctl", supervisorctl)
    monkeypatch.setattr(HostStack, "is_running", lambda stack: True)
    monkeypatch.setattr(HostStack, "_wait", lambda stack: None)
    stack = HostStack(home, {})
    home.run.mkdir(parents=True)
    (home.run / "settings").write_text(stack._fingerprint())
    stack.start()
    assert asked == started
    assert ("worker, web ended again and again" in capsys.readouterr().out) == bool(started)
