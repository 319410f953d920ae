"""How hosts outside are asked: who we say we are, by which proxy, and whose certificates are trusted.

The settings are USER_AGENT, IMAGE_HOSTS, HTTP_PROXY, HTTPS_PROXY, NO_PROXY and CA_BUNDLE.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from labelloop import ranges, urls
from labelloop.errors import Explained
from labelloop.files import write_bytes
from labelloop.urls import WebAddress

_ROOTS = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
"""Variables by which other programs are told of certificates; we read the files that they name, too."""


class CertificateError(Explained):
    """A file with certificates cannot be read; the message names it."""


@dataclass(frozen=True)
class Outside:
    """The settings for requests to hosts outside.

    image_hosts, no_proxy: as in the settings, with commas between the entries. ca_files: PEM files with
    certificates that are trusted besides the usual ones.
    """

    user_agent: str = ranges.USER_AGENT
    image_hosts: str = ""
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    ca_files: tuple[Path, ...] = ()

    @cached_property
    def _opened(self) -> frozenset[tuple[str, str, int]]:
        entries = filter(None, (entry.strip() for entry in self.image_hosts.split(",")))
        return frozenset(urls.parse(entry).origin for entry in entries)

    def opens(self, address: WebAddress) -> bool:
        """Whether IMAGE_HOSTS names this scheme, host and port: it may have any IP address then."""
        return address.origin in self._opened

    def proxy_for(self, address: WebAddress) -> str | None:
        """The proxy's URL for an address; None when it is asked directly, as hosts of IMAGE_HOSTS are."""
        proxy = self.https_proxy if address.scheme == "https" else self.http_proxy
        return None if not proxy or self.opens(address) or _is_exempt(address, self.no_proxy) else proxy

    @property
    def extra_certificates(self) -> str | None:
        """The text of the files with further certificates; None without any.

        Raises:
            CertificateError: one of them cannot be read.
        """
        return "\n".join(map(_text, self.ca_files)) or None

    def write_certificates(self, target: Path) -> None:
        """Writes the usual certificates and the further ones to one file, for libraries that take only one.

        Raises:
            CertificateError: a file cannot be read. OSError: `target` cannot be written.
        """
        whole = "\n".join(map(_text, (Path(DEFAULT_CA_BUNDLE_PATH), *self.ca_files))).encode()
        if not target.is_file() or target.read_bytes() != whole:
            write_bytes(target, whole)


def ca_files(setting: Path | None) -> tuple[Path, ...]:
    """The file of the setting CA_BUNDLE, and those of other programs' variables where they exist."""
    named = [Path(os.environ[name]) for name in _ROOTS if os.environ.get(name)]
    return tuple(
        dict.fromkeys([*([setting] if setting else []), *(path for path in named if path.is_file())])
    )


def _is_exempt(address: WebAddress, no_proxy: str) -> bool:
    """Whether NO_PROXY names the host: as it is, by a domain that it is in, by its network, or by `*`."""
    host = address.host.strip("[]")
    return any(_names(entry.strip().lower(), host, address.port) for entry in no_proxy.split(","))


def _names(entry: str, host: str, port: int) -> bool:
    with suppress(ValueError):
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    name, _, entrys_port = entry.rpartition(":")
    if name and entrys_port.isdigit():
        if int(entrys_port) != port:
            return False
        entry = name
    domain = entry.lstrip(".")
    return entry == "*" or bool(domain) and (host == domain or host.endswith(f".{domain}"))


def without_proxy(names: Iterable[str], no_proxy: str) -> str:
    """NO_PROXY with the hosts of these names or URLs in it."""
    hosts = [urlsplit(name).hostname or "" if "://" in name else name for name in names]
    given = [entry.strip() for entry in no_proxy.split(",") if entry.strip()]
    return ",".join(dict.fromkeys(filter(None, [*hosts, *given])))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}; CA_BUNDLE names a file below configs/") from error
