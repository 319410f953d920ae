"""What is outside: settings for it, what `make doctor` says of them, and what programs get."""

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labelloop.findings import OK, WARNING
from lifecycle import engine
from lifecycle.console import Failure
from lifecycle.doctor.outside import findings, use_for_builds
from lifecycle.home import Home
from lifecycle.runtime.host_stack import HostStack
from lifecycle.settings import settings as settings_module
from lifecycle.settings.settings import Settings

REPO = Path(__file__).parents[3]
NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxy_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        for spelling in (name, name.lower()):
            monkeypatch.setenv(spelling, "")


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def certificate(home: Home) -> Path:
    path = home.root / "configs" / "ca.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=company", "-days", "2"]
    command = ["openssl", *words, "-keyout", os.devnull, "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PROXY", "http://proxy:3128"),
        ("HTTPS_PROXY", "http://user:p%40ss@proxy.corp:3128/"),
        ("NO_PROXY", "localhost,.corp,10.0.0.0/8, [::1],*"),
        ("IMAGE_HOSTS", "https://minio.lan:9000,http://[fd00::1]:9000,http://10.0.0.5"),
        ("USER_AGENT", "Mozilla/5.0 (X11; Linux x86_64), ann@x.org"),
        *((name, "") for name in (*NAMES, "IMAGE_HOSTS", "USER_AGENT", "CA_BUNDLE")),
    ],
)
def test_possible_settings(home: Home, name: str, value: str) -> None:
    settings_module.check(home, {name: value})
    settings_module.keep(home, {name: value})
    assert settings_module.load(home).get(name) == value


@pytest.mark.parametrize(
    ("name", "value", "needed"),
    [
        ("HTTP_PROXY", "proxy:3128", "http://proxy.example.com:3128"),
        ("HTTPS_PROXY", "socks5://proxy:1080", "a proxy's URL"),
        ("IMAGE_HOSTS", "minio.lan:9000", "https://minio.lan:9000"),
        ("IMAGE_HOSTS", "https://minio.lan/bucket", "without a path"),
        ("IMAGE_HOSTS", "https://user:pw@minio.lan", "without a path"),
        ("USER_AGENT", "a\nCookie: b", "letters, digits"),
        ("CA_BUNDLE", "/etc/ssl/certs/ca.pem", "a file below configs/"),
        ("CA_BUNDLE", "volumes/ca.pem", "a file below configs/"),
        ("CA_BUNDLE", "configs/loop.env", "certificates in PEM"),
    ],
)
def test_impossible_settings_say_what_is_needed(home: Home, name: str, value: str, needed: str) -> None:
    with pytest.raises(Failure, match=f"{name}: found .*{needed}"):
        settings_module.check(home, {name: value})


def test_certificates_are_counted_and_late_ones_told(
    home: Home, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings({"CA_BUNDLE": "configs/ca.pem"})
    settings_module.check(home, dict(settings))
    [finding] = findings(home, settings)
    assert finding.level == OK and "1 certificates in configs/ca.pem" in finding.text
    monkeypatch.setattr(time, "time", lambda: 5e9)
    [finding] = findings(home, settings)
    assert finding.level == WARNING and "1 of the 1 certificates" in finding.text


def test_what_does_not_answer_is_told_without_its_password(home: Home, listener: int) -> None:
    there = f"http://127.0.0.1:{listener}"
    away = "http://user:secret@127.0.0.1:1"
    found = list(findings(home, Settings({"HTTP_PROXY": there, "HTTPS_PROXY": away, "IMAGE_HOSTS": there})))
    assert [finding.level for finding in found] == [OK, WARNING, OK]
    assert "http://…@127.0.0.1:1 can't be reached from this host" in found[1].text
    assert "secret" not in str(found)


def test_a_proxy_of_the_shell_alone_is_told(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.corp:3128")
    [finding] = findings(home, Settings({}))
    assert finding.level == WARNING and finding.command == "make up HTTPS_PROXY=http://proxy.corp:3128"


def test_builds_use_the_settings_proxy_unless_the_shell_has_one(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://shell:1")
    use_for_builds(home, Settings({"HTTP_PROXY": "http://kept:1", "HTTPS_PROXY": "http://kept:1"}))
    assert os.environ["HTTP_PROXY"] == os.environ["http_proxy"] == "http://kept:1"
    assert os.environ["HTTPS_PROXY"] == "http://shell:1"


def test_on_the_host_the_stacks_own_services_are_asked_without_the_proxy(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://shell:1")
    given = {"BIND": "10.9.8.7", "HTTPS_PROXY": "http://kept:1", "HTTP_PROXY": "", "NO_PROXY": ".corp"}
    environment = HostStack(home, Settings(given))._environment()
    for name in ("NO_PROXY", "no_proxy"):
        assert environment[name] == "localhost,127.0.0.1,::1,10.9.8.7,.corp"
    assert environment["HTTPS_PROXY"] == environment["https_proxy"] == "http://kept:1"
    assert environment["HTTP_PROXY"] == environment["http_proxy"] == "http://shell:1"


def test_builds_trust_the_companys_certificates(
    home: Home, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CA_PEM", "of another time")
    monkeypatch.delenv("PIP_CERT", raising=False)
    use_for_builds(home, Settings({}))
    assert "CA_PEM" not in engine.build_arguments()
    use_for_builds(home, Settings({"CA_BUNDLE": "configs/ca.pem"}))
    assert engine.build_arguments()["CA_PEM"] == certificate.read_text()
    loaded = ssl.create_default_context(cafile=os.environ["PIP_CERT"]).get_ca_certs()
    assert any("company" in str(row["subject"]) for row in loaded)
    for name in ("base", "labelstudio"):  # the others stand on base, whose pip is told
        text = (REPO / "images" / name / "Dockerfile").read_text()
        assert text.index("ARG CA_PEM") < text.index("pip config set --global global.cert")
        assert text.index("pip config set --global global.cert") < text.index("pip install")
