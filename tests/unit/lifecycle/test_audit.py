"""pip-audit itself, on small locks, with a vulnerability database of the test's own."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.served import Handler, served

from lifecycle.console import Failure
from lifecycle.dev import audit
from lifecycle.home import Home
from lifecycle.verbs import table as verbs

ADVISORY = {
    "id": "PYSEC-0000-1",
    "summary": "made up",
    "details": "made up",
    "modified": "2026-01-01T00:00:00Z",
    "published": "2026-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "leaky", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1.1"}]}],
        }
    ],
}


class Database(Handler):
    """Knows of one package."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"vulns": [ADVISORY]} if asked["package"]["name"] == "leaky" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def database() -> Iterator[str]:
    with served(Database) as url:
        yield f"{url}/v1/query"


@pytest.fixture
def locked(home: Home, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout's only lock, to be filled."""
    monkeypatch.setattr(audit, "environment_with_tools", lambda home: Path(sys.prefix))
    (home.root / "tests").mkdir()
    return home.root / "tests" / "requirements.lock"


def pin(name: str) -> str:
    return f"{name}==1.0 \\\n    --hash=sha256:{'a' * 64}\n"


def test_what_nobody_complains_of_passes(
    home: Home, locked: Path, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    locked.write_text(pin("sound"))
    audit.audit(home, {"OSV": database})
    assert "tests/requirements.lock: nothing known" in capsys.readouterr().out


def test_a_vulnerable_package_is_named_with_its_advisory_and_what_mends_it(
    home: Home, locked: Path, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    locked.write_text(pin("sound") + pin("leaky"))
    with pytest.raises(Failure, match="1 vulnerable packages are locked") as failure:
        audit.audit(home, {"OSV": database})
    assert failure.value.status == 1
    assert "leaky 1.0: PYSEC-0000-1 (mended in 1.1)" in capsys.readouterr().out


def test_a_database_that_cannot_be_reached_is_no_good_result(
    home: Home, locked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    locked.write_text(pin("sound"))
    with pytest.raises(audit.NotChecked, match=r"not checked: .*requirements\.lock.*http://127\.0\.0\.1:9/q"):
        audit.audit(home, {"OSV": "http://127.0.0.1:9/q"})
    monkeypatch.setattr(verbs, "Home", lambda root: home)
    monkeypatch.chdir(home.root)
    assert verbs.main(["audit", "OSV=http://127.0.0.1:9/q"]) == 2
    told = capsys.readouterr()
    assert "FAIL  not checked" in told.err and "nothing known" not in told.out
