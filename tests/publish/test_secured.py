"""A registry with a login and a certificate of its own authority, asked by Docker: what is missing is named.

As root alone, since the engine reads certificates from /etc/docker. It listens on Docker's own bridge: on
127.0.0.1 the engine asks for no certificate.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.certificates import signed
from support.ports import free_port
from support.registries import FLAVOUR, NAMES, forget, registry_at, small_checkout, versions

from lifecycle import engine
from lifecycle.build import registry
from lifecycle.console import Failure
from lifecycle.home import Home
from lifecycle.shell import answer
from lifecycle.verbs import publish

# Of the password "secret", as `htpasswd -B` writes it.
ANN = "ann:$2b$04$TzsPDyOkoZLKHeXPlGNt9OiNCRwekzuR9kg8fnNF.qAn5p.iiMc0K\n"
GATEWAY = "{{range .IPAM.Config}}{{.Gateway}}{{end}}"


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A prefix in a registry that nobody has logged in to, and whose authority the engine doesn't know."""
    host = answer(["docker", "network", "inspect", "bridge", "--format", GATEWAY]) or ""
    assert host, "Docker has no bridge"
    signed(tmp_path, host)
    (tmp_path / "htpasswd").write_text(ANN)
    tls = f"{{certificate: {tmp_path}/server.crt, key: {tmp_path}/server.key}}"
    auth = f"{{htpasswd: {{realm: test, path: {tmp_path}/htpasswd}}}}"
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with registry_at(tmp_path, host, free_port(), tls, auth) as prefix:
        yield prefix


@pytest.fixture
def trusted(at: str) -> Iterator[Path]:
    """Where the engine looks for the registry's authority; nothing is there yet."""
    folder = Path("/etc/docker/certs.d") / at.partition("/")[0]
    folder.mkdir(parents=True)
    yield folder / "ca.crt"
    shutil.rmtree(folder)


def refused(home: Home, at: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What `make up` says; what `make publish` says before it builds must name the same way out."""
    assert not registry.pull_version(home, at, versions(home), NAMES)
    said = capsys.readouterr().out
    with pytest.raises(Failure) as raised:
        registry.require(at)
    assert raised.value.do.rstrip(".") in said
    return said


def test_what_is_missing_is_named_until_images_come_and_go(
    tmp_path: Path, at: str, trusted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert engine.engine_version() and os.geteuid() == 0, "it takes Docker, and root"
    home = small_checkout(tmp_path / "checkout")
    host = at.partition("/")[0]
    assert f"/etc/docker/certs.d/{host}/ca.crt; then `make up` again" in refused(home, at, capsys)
    shutil.copy(tmp_path / "ca.crt", trusted)
    assert f"`docker login {host}` first; then `make up` again" in refused(home, at, capsys)
    login = ["docker", "login", "--username", "ann", "--password-stdin", host]
    subprocess.run(login, input=b"secret", check=True, capture_output=True, timeout=60)
    registry.require(at)
    try:
        publish.push(home, at, FLAVOUR, None)
        forget(at)
        assert registry.pull_version(home, at, versions(home), NAMES), capsys.readouterr().out
        assert registry.label(NAMES["trainer"], registry.VERSION_LABEL) == versions(home)["trainer"]
    finally:
        forget(at)
