"""What is outside, as this host sees it: the proxy, the company's certificates, the hosts of images."""

from __future__ import annotations

import os
import re
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from labelloop.findings import Finding, ok, warning
from lifecycle.home import Home
from lifecycle.settings.known import PROXIES
from lifecycle.settings.settings import Settings

CONNECT_SECONDS = 3.0
CERTIFICATES = "CA_PEM"
_HOW = "docs/how-to/your-network.md tells more"


def findings(home: Home, settings: Settings) -> Iterator[Finding]:
    """What of the settings does not answer, is out of date, or is this shell's alone; none is a problem."""
    yield from _of_the_shell(settings)
    for name in PROXIES:
        if settings.get(name):
            yield _reached(name, settings[name], f"The services get out by it alone; {_HOW}.")
    for host in filter(None, settings.get("IMAGE_HOSTS", "").split(",")):
        yield _reached("IMAGE_HOSTS", host, f"Its images can't be read meanwhile; {_HOW}.")
    if settings.get("CA_BUNDLE"):
        yield from _certificates(home, settings["CA_BUNDLE"])


def use_for_builds(home: Home, settings: Settings) -> None:
    """Lets pip and Docker's builds use the settings' proxy, where the shell has none, and certificates.

    Docker's builds take the certificates as CA_PEM, pip on the host takes a file with the system's, too.
    """
    for name in (*PROXIES, "NO_PROXY"):
        value = settings.get(name)
        if value and not (os.environ.get(name) or os.environ.get(name.lower())):
            os.environ[name] = os.environ[name.lower()] = value
    os.environ.pop(CERTIFICATES, None)
    if settings.get("CA_BUNDLE"):
        company = (home.root / settings["CA_BUNDLE"]).read_text(errors="replace")
        os.environ[CERTIFICATES] = company
        system = Path(ssl.get_default_verify_paths().cafile or os.devnull).read_text(errors="replace")
        home.run.mkdir(parents=True, exist_ok=True)
        together = home.run / "certificates.pem"
        together.write_text(f"{system}\n{company}")
        os.environ.setdefault("PIP_CERT", str(together))


def _of_the_shell(settings: Settings) -> Iterator[Finding]:
    for name in PROXIES:
        theirs = os.environ.get(name) or os.environ.get(name.lower())
        if theirs and not settings.get(name):
            text = f"this shell has {name}={without_password(theirs)}, and the services have none"
            fix = "Images on the internet and published weights may need it: give it to them, too."
            yield warning("network", text, fix, f"make up {name}={without_password(theirs)}")


def _reached(name: str, url: str, fix: str) -> Finding:
    told, parts = without_password(url), urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        return warning(
            "network", f"{name}: {told} can't be reached from this host ({why})", fix, "make doctor"
        )
    return ok("network", f"{name}: {told} can be reached from this host")


def _certificates(home: Home, setting: str) -> Iterator[Finding]:
    """Whether the certificates of CA_BUNDLE are still good. That the file can be read is checked before."""
    found = ssl.create_default_context(cafile=str(home.root / setting)).get_ca_certs()
    late = [row for row in found if ssl.cert_time_to_seconds(str(row["notAfter"])) < time.time()]
    if late:
        text = f"CA_BUNDLE: {len(late)} of the {len(found)} certificates in {setting} are out of date"
        yield warning("network", text, "Ask for the present ones.", f"openssl x509 -enddate -in {setting}")
    else:
        yield ok("network", f"CA_BUNDLE: {len(found)} certificates in {setting}")


def without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//…@", url)
