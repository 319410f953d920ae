"""Downloads an image over HTTP from a host that a task names. The host is not trusted.

.netrc and cookies are not used. Redirects are followed by hand, and each is checked like the first
address. A URL is parsed once, and the connection is made from its parts. The API token is sent only over a
connection that was made from Label Studio's own URL, whatever the task's URL says. `guarded` says which hosts
are connected to.
"""

import hashlib
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from urllib3 import BaseHTTPResponse, Timeout
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError, ProxyError, SSLError
from urllib3.exceptions import TimeoutError as TimedOut

from labelloop import urls
from labelloop.guarded import WATCHED, Deadline, pool, pool_outside
from labelloop.images import ImageAway, ImageError
from labelloop.outside import Outside
from labelloop.urls import WebAddress, shown

MAX_BYTES = 100 * 1024 * 1024
MAX_REDIRECTS = 4
TIMEOUT_S = (3.0, 15.0)
DEADLINE_S = 30.0
# Statuses, beside those from 500, of servers that may answer otherwise in a moment.
_FOR_NOW = (408, 425, 429)
_CHUNK = 1 << 16
LEAST_PART = 1 << 16
"""A download that breaks off before so many bytes is begun anew."""
_DIGITS = re.compile("[0-9]{1,18}")
_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})")

# The paths at which Label Studio serves files. The token is sent to no other path, even on the same host.
_FILES_OF_LABEL_STUDIO = re.compile(
    r"/(data|storage-data)/|/(tasks|projects)/\d+/(resolve|presign)/|/api/projects/\d+/file-proxy"
)


@dataclass(frozen=True)
class Stamp:
    """What a server said with an answer, so that it can be asked whether anything has changed since. place:
    a hash of what it said that about, the server with the path.
    """

    place: str
    etag: str = ""
    last_modified: str = ""

    def conditions(self, place: str) -> dict[str, str]:
        """The headers of a request to a place that is to be answered only if something has changed."""
        if place != self.place:
            return {}
        headers = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in headers.items() if value}

    def may_be_of(self, other: "Stamp") -> bool:
        """Whether both may be of the same bytes, as far as both say of which they are."""
        pairs = (self.etag, other.etag), (self.last_modified, other.last_modified)
        return all(not ours or not theirs or ours == theirs for ours, theirs in pairs)


@dataclass(frozen=True)
class Part:
    """The first bytes of a body that broke off. stamp: what its server said with them."""

    content: bytes
    stamp: Stamp

    def conditions(self, place: str) -> dict[str, str]:
        """The headers of a request to a place for the rest, as long as nothing has changed."""
        if place != self.stamp.place:
            return {}
        version = self.stamp.etag or self.stamp.last_modified
        return {"Range": f"bytes={len(self.content)}-", "If-Range": version}


class BrokenOff(ImageAway):
    """A body ended before its end. part: what has come of it, where the rest can be asked for."""

    def __init__(self, message: str, part: Part | None) -> None:
        super().__init__(message)
        self.part = part


@dataclass(frozen=True)
class Fetched:
    """An answer. content: its body; None where nothing has changed."""

    content: bytes | None
    stamp: Stamp


def download(
    url: str,
    trusted: str,
    token: str | None = None,
    outside: Outside = Outside(),  # noqa: B008
    authorization: str | None = None,
) -> bytes:
    """The body of the answer at an http(s) URL; see `fetch`."""
    content = fetch(url, trusted, token, outside, authorization=authorization).content
    assert content is not None, "only a request with conditions is answered so"
    return content


def fetch(
    url: str,
    trusted: str,
    token: str | None = None,
    outside: Outside = Outside(),  # noqa: B008
    known: Stamp | None = None,
    authorization: str | None = None,
    part: Part | None = None,
) -> Fetched:
    """Asks for an http(s) URL.

    trusted: Label Studio's own URL. Only that origin may have any address, and only that origin receives
    `token`, on the paths at which it serves files. known: what was said with the bytes that the caller has.
    authorization: the header's whole value, in the token's place. part: of the body, which the caller has;
    the rest is asked for, and all of it where that has changed, or the server gives no parts.

    Raises:
        ImageError: the host is refused, the body is too large, or the status is not 200.
        ImageAway: the host is unreachable, too slow or not well, or does not take our credentials.
        BrokenOff: the body did.
    """
    name = shown(url)
    studio = urls.parse(trusted)
    authorization = authorization or (f"Token {token}" if token else None)
    address = _taken_apart(name, lambda: urls.parse(url))
    with Deadline(DEADLINE_S) as deadline:
        for _ in range(MAX_REDIRECTS + 1):
            ours = address.origin == studio.origin
            with pool(studio, WATCHED, outside) if ours else pool_outside(address, outside) as connections:
                headers = {"Accept": "image/*,*/*;q=0.5", "User-Agent": outside.user_agent}
                if known:
                    headers |= known.conditions(_place(address))
                if part:
                    headers |= part.conditions(_place(address))
                if ours and authorization and _serves_files(address, studio):
                    headers["Authorization"] = authorization
                try:
                    answer = connections.urlopen(
                        "GET",
                        address.target if isinstance(connections, HTTPConnectionPool) else str(address),
                        headers=headers,
                        timeout=Timeout(connect=TIMEOUT_S[0], read=TIMEOUT_S[1]),
                        retries=False,
                        redirect=False,
                        preload_content=False,
                    )
                except (HTTPError, OSError, UnicodeError) as error:
                    raise _cannot_be_had(name, deadline.words(), error) from error
                with closing(answer):
                    location = answer.get_redirect_location()
                    if known and answer.status == 304:
                        return Fetched(None, known)
                    if not location:
                        begun = part if "Range" in headers else None
                        reading = _Body(answer, name, deadline, ours, _stamp(answer, address))
                        return Fetched(reading.read(begun), reading.stamp)
            address = _led_to(name, address, location)
    raise ImageError(f"{name}: more than {MAX_REDIRECTS} redirects")


def _taken_apart(name: str, parse: Callable[[], WebAddress]) -> WebAddress:
    try:
        return parse()
    except ValueError as error:
        raise ImageError(f"{name}: {error}") from error


def _led_to(name: str, address: WebAddress, location: str) -> WebAddress:
    try:
        return urls.follow(address, location)
    except ValueError as error:
        raise ImageError(f"{name}: leads to {shown(location)!r}: {error}") from error


def _serves_files(address: WebAddress, studio: WebAddress) -> bool:
    path = address.path.removeprefix(studio.path.rstrip("/"))
    return _FILES_OF_LABEL_STUDIO.match(path) is not None


@dataclass(frozen=True)
class _Body:
    """An answer's body. ours: whether Label Studio gives it."""

    answer: BaseHTTPResponse
    name: str
    deadline: Deadline
    ours: bool
    stamp: Stamp

    def read(self, begun: Part | None) -> bytes:
        """begun: that of which the rest was asked for."""
        if self.deadline.words():  # urllib3 takes the lines before a cut for complete headers
            raise ImageAway(f"{self.name}: {self.deadline.words()}")
        body, declared = self._begin(begun)
        self._require_size(declared)
        broken = None
        try:
            while chunk := self.answer.read1(_CHUNK, decode_content=True):
                body += chunk
                self._require_size(len(body))
                if self.deadline.words():
                    break
        except ImageError:
            raise
        except Exception as error:  # the decoders have their own errors, and so does a connection that is cut
            broken = f"broke off: {error if isinstance(error, OSError) else type(error).__name__}"
        # Without a length, a cut at the deadline looks like the end of the body.
        broken = self.deadline.words() or broken
        if not broken and declared is not None and len(body) < declared:
            broken = f"broke off after {len(body)} of {declared} bytes"
        if broken:
            raise BrokenOff(f"{self.name}: {broken}", self._part(bytes(body)))
        return bytes(body)

    def _begin(self, begun: Part | None) -> tuple[bytearray, int | None]:
        """What the body begins with, and how long the whole of it is, where that is told."""
        answer, headers = self.answer, self.answer.headers
        if begun is not None and answer.status == 206:
            found = _RANGE.fullmatch(headers.get("content-range", ""))
            if found is None or int(found[1]) != len(begun.content):
                raise BrokenOff(f"{self.name}: answered with another part than was asked for", None)
            if not self.stamp.may_be_of(begun.stamp):  # some servers do not look at If-Range
                raise BrokenOff(f"{self.name}: has changed since it broke off", None)
            return bytearray(begun.content), int(found[2])
        if begun is not None and answer.status == 416:
            raise BrokenOff(f"{self.name}: has changed since it broke off", None)
        if answer.status != 200:
            raise self._refusal()
        length = None if headers.get("content-encoding") else _whole(headers.get("content-length", ""))
        return bytearray(), length

    def _refusal(self) -> ImageError:
        status, headers = self.answer.status, self.answer.headers
        words = f"{self.name}: answered {status} {self.answer.reason}{_hint(status, self.ours)}"
        if status in _FOR_NOW or status >= 500:
            return ImageAway(words, _seconds(headers.get("retry-after", "")))
        return ImageAway(words, None) if status in (401, 403) else ImageError(words)

    def _require_size(self, size: int | None) -> None:
        if size is not None and size > MAX_BYTES:
            raise ImageError(f"{self.name}: {size >> 20} MiB; at most {MAX_BYTES >> 20} MiB are read")

    def _part(self, content: bytes) -> Part | None:
        """What has come, if the rest can be asked for: the server gives parts, and says of which version."""
        headers = self.answer.headers
        gives_parts = self.answer.status == 206 or headers.get("accept-ranges", "") == "bytes"
        etag = "" if self.stamp.etag.startswith("W/") else self.stamp.etag
        told = etag or self.stamp.last_modified
        if not (gives_parts and told) or headers.get("content-encoding") or len(content) < LEAST_PART:
            return None
        return Part(content, Stamp(self.stamp.place, etag, self.stamp.last_modified))


def _place(address: WebAddress) -> str:
    """A hash of the server and the path, which may be secret. A query may hold the key of the moment."""
    text = f"{address.scheme}://{address.host}:{address.port}{address.path}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _stamp(answer: BaseHTTPResponse, address: WebAddress) -> Stamp:
    headers = answer.headers
    return Stamp(_place(address), headers.get("etag", ""), headers.get("last-modified", ""))


def _seconds(retry_after: str) -> float:
    """What the header of that name says in seconds; 0.0 if it says nothing, or a date."""
    return float(_whole(retry_after) or 0)


def _whole(header: str) -> int | None:
    """The whole number that a header says; None where it says none."""
    return int(header) if _DIGITS.fullmatch(header) else None


def _cannot_be_had(name: str, too_late: str, error: Exception) -> ImageError:
    if not too_late and isinstance(error, SSLError | UnicodeError):
        return ImageError(f"{name}: {_why(error)}")
    return ImageAway(f"{name}: {too_late or _why(error)}")


def _hint(status: int, ours: bool) -> str:
    if not ours or status not in (401, 403, 404):
        return ""
    if status == 404:
        return "; Label Studio has no such file, or no storage connected that holds it"
    return (
        "; the API token of .env is not (or no longer) valid for this project: `make up` provisions it again"
    )


def _why(error: Exception) -> str:
    """The error without the URL that urllib3 puts into its messages."""
    if isinstance(error, SSLError):
        return "its certificate is not trusted; CA_BUNDLE names further ones"
    if isinstance(error, ProxyError):
        return f"the proxy did not lead there ({type(error.original_error).__name__})"
    if isinstance(error, NewConnectionError):
        return "cannot be reached"
    if isinstance(error, TimedOut):
        return f"did not answer within {TIMEOUT_S[0]:.0f} s (connect) or {TIMEOUT_S[1]:.0f} s (read)"
    if isinstance(error, ProtocolError | OSError):
        return "cannot be reached"
    return f"cannot be fetched ({type(error).__name__})"
