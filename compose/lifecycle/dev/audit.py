"""`make audit`: pip-audit asks a vulnerability database about every package that the locks pin."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from lifecycle.build.pins import all_locks
from lifecycle.console import Failure, heading, line, note
from lifecycle.dev.testing import environment_with_tools
from lifecycle.home import Home

OSV = "https://api.osv.dev/v1/query"
SECONDS = 600.0
_TIMEOUT = "15"


class NotChecked(Failure):
    """The database could not be asked. That is no good result, nor a bad one."""

    status = 2


def audit(home: Home, given: Mapping[str, str]) -> None:
    """Audits every lock: fails (1) with what is vulnerable, and fails otherwise (2) when it can't be told.

    OSV=URL names another database that answers as osv.dev's /v1/query does, for example a mirror.

    Raises:
        Failure: vulnerable packages, each with its advisory and the version that mends it. NotChecked.
    """
    program = environment_with_tools(home) / "bin" / "pip-audit"
    if not program.exists():
        raise NotChecked(
            "not checked", found=f"no {program}", needed="pip-audit, a test tool", do="`make lock`."
        )
    url = given.get("OSV", OSV)
    heading(f"Audit against {url}")
    vulnerable: list[str] = []
    for lock in all_locks(home):
        found = _ask(program, home.root / lock, url)
        line(
            "lock",
            f"{lock}: {len(found)} of its packages are vulnerable" if found else f"{lock}: nothing known",
        )
        vulnerable += [f"{lock}: {text}" for text in found]
    for text in vulnerable:
        note(text)
    if vulnerable:
        raise Failure(
            f"{len(vulnerable)} vulnerable packages are locked", do="`make lock UPGRADE=1`, then `make test`."
        )


def _ask(program: Path, lock: Path, url: str) -> list[str]:
    """A line for each vulnerable package of a lock.

    Raises:
        NotChecked: pip-audit came to no result; its last words say why.
    """
    command = [
        *(str(program), "--requirement", str(lock), "--no-deps", "--disable-pip", "--timeout", _TIMEOUT),
        *("--vulnerability-service", "osv", "--osv-url", url),
        *("--format", "json", "--desc", "off", "--progress-spinner", "off"),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise NotChecked(f"not checked: {lock}: no result in {SECONDS:.0f} s", do=_way_out(url)) from error
    report = _report(done.stdout)
    if report is None:
        said = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise NotChecked(f"not checked: {lock}: {said[:300]}", do=_way_out(url))
    rows = report["dependencies"]
    unknown = [f"{row['name']}: {row['skip_reason']}" for row in rows if "skip_reason" in row]
    if unknown:
        raise NotChecked(f"not checked: {lock}: {unknown[0]}", do=_way_out(url))
    return [_words(row) for row in rows if row["vulns"]]


def _report(text: str) -> Optional[dict[str, Any]]:
    """pip-audit ends with 1 for what is vulnerable and for what went wrong; only the former comes as JSON."""
    try:
        report = json.loads(text)
    except ValueError:
        return None
    return report if isinstance(report, dict) and isinstance(report.get("dependencies"), list) else None


def _words(row: Mapping[str, Any]) -> str:
    known = []
    for vuln in row["vulns"]:
        mended = ", ".join(vuln["fix_versions"])
        known.append(f"{vuln['id']} ({f'mended in {mended}' if mended else 'not mended yet'})")
    return f"{row['name']} {row['version']}: {'; '.join(known)}"


def _way_out(url: str) -> str:
    return f"Does this host reach {url}? `make audit OSV=URL` asks another database."
