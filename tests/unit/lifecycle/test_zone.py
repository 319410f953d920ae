"""The host's zone, for commands in containers."""

from pathlib import Path

import pytest

from lifecycle.home import Home
from lifecycle.runtime.docker_stack import DockerStack
from lifecycle.runtime.zone import host_zone

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"


def zone_file(path: Path, rule: str) -> Path:
    path.write_bytes(b"TZif2" + bytes(39) + b"\n\x00transitions\n" + f"\n{rule}\n".encode())
    return path


@pytest.mark.parametrize("rule", [BERLIN, "UTC0", "<+0545>-5:45", "EST5EDT,M3.2.0,M11.1.0"])
def test_the_hosts_own_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    monkeypatch.delenv("TZ", raising=False)
    assert host_zone(zone_file(tmp_path / "localtime", rule)) == rule


@pytest.mark.parametrize("content", [None, b"", b"Europe/Berlin\n", b"TZif2\n\n", b"TZif2 \xff\n$(date)\n"])
def test_a_zone_that_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    monkeypatch.delenv("TZ", raising=False)
    path = tmp_path / "localtime"
    if content is not None:
        path.write_bytes(content)
    assert host_zone(path) is None


@pytest.mark.parametrize(("chosen", "zone"), [("EST5EDT,M3.2.0,M11.1.0",) * 2, ("Mars/Olympus", None)])
def test_the_environment_counts_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str, zone: str | None
) -> None:
    monkeypatch.setenv("TZ", chosen)
    assert host_zone(zone_file(tmp_path / "localtime", BERLIN)) == zone


def test_a_command_in_a_container_is_told(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker").write_text('#!/bin/sh\necho "$*"\n')
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("TZ", BERLIN)
    said = DockerStack(home, "labelloop").ask(["doctor"], 5)
    assert said.strip() == f"compose exec -T --env TZ={BERLIN} trainer labelloop doctor"
