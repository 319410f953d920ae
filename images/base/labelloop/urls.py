"""Parses untrusted URLs once, so that the host that is checked is the host that is connected to.

Parsers disagree on odd URLs: in `http://evil\\@labelstudio:8080/a` Python's sees labelstudio, urllib3's sees
evil and connects to it. URLs that parsers may read differently are refused, and callers connect by the parts.
"""

import re
from dataclasses import dataclass
from urllib.parse import urljoin

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

PORTS = {"http": 80, "https": 443}
# Control characters, backslashes, and all white space except the plain space, which file names contain.
_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f\\]|(?! )\s")
_HOST = re.compile(r"\[[0-9a-f:.]+(%[0-9a-z._~-]+)?\]|[0-9a-z_][0-9a-z._~-]*", re.IGNORECASE)
_USER_INFO = re.compile(r"[^/?#]*//[^/?#]*@")
_BEFORE_HOST = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*:)?[/\\]{2}([^/?#]*@)")


@dataclass(frozen=True)
class WebAddress:
    """An http(s) URL in parts.

    host: in lower case, in the form used to connect; an IPv6 address is in brackets. target: path and query,
    encoded.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: two URLs with the same lead to the same server."""
        return self.scheme, self.host, self.port

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def __str__(self) -> str:
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.target}"


def parse(url: str) -> WebAddress:
    """Parses an absolute URL; spaces in its path are encoded.

    Raises:
        ValueError: the text is no http(s) URL with a host, or it has a backslash, a control character, white
            space before the path, or user info. The message has no part of the URL except its scheme.
    """
    check_characters(url)
    try:
        parts = parse_url(url)
    except LocationParseError as error:
        raise ValueError("not a URL: no host or port that can be read") from error
    scheme = parts.scheme or ""
    if scheme not in PORTS:
        raise ValueError(f"{scheme or 'no'} scheme; only http and https are followed")
    if _USER_INFO.match(url):
        raise ValueError("has a user name before the host; browsers show no such image, and none is fetched")
    if not parts.host or not _HOST.fullmatch(parts.host):
        raise ValueError("not a URL: no host that can be read")
    target = parts.request_uri
    return WebAddress(scheme, parts.host.lower(), parts.port or PORTS[scheme], target)


def check_characters(url: str) -> None:
    """Raises ValueError for a backslash, a control character, or white space other than a plain space."""
    if found := _REFUSED.search(url):
        raise ValueError(
            f"not a URL: has the character {found.group()!r}; write it as %{ord(found.group()):02X}"
        )


def follow(base: WebAddress, location: str) -> WebAddress:
    """The address to which a redirect leads. Raises ValueError as `parse` does."""
    check_characters(location)
    return parse(urljoin(str(base), location))


def shown(url: str) -> str:
    """The URL for messages: shortened, without credentials and query (which may hold a pre-signed URL's key).

    Accepts any text and raises nothing.
    """
    if url.lower().startswith("data:"):
        return "data: URI"
    bare = re.split(r"[?#]", url[:20_000], maxsplit=1)[0]
    return _BEFORE_HOST.sub(lambda match: bare[: match.start(2)], bare)[:200]
