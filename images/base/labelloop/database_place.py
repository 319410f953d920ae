"""Where Label Studio's database is when it is on PostgreSQL: a URL without a password.

This module needs only Python's standard library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from labelloop import layout

PORT = 5432
NAME = "labelloop"
"""Of the database and its user, where the stack brings its own PostgreSQL."""
USERS = "htx_user"
"""A table that every Label Studio's database has."""
TABLES = """
SELECT relname FROM pg_class
WHERE relkind IN ('r', 'p')
    AND relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = current_schema())
    AND NOT EXISTS (
        SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'
    )
"""
"""Asks a database for its tables, but for those of extensions."""
TLS_MODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
FORM = "postgresql://USER@HOST:PORT/DATABASE, with ?sslmode= where it matters, and without a password"
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.$-]{0,62}")


@dataclass(frozen=True)
class DatabasePlace:
    """host: a name or an IPv4 address. tls: libpq's sslmode; empty where the URL names none."""

    host: str
    user: str
    name: str
    port: int = PORT
    tls: str = ""

    @classmethod
    def parse(cls, url: str) -> DatabasePlace:
        """Reads FORM.

        >>> DatabasePlace.parse("postgresql://ann@db.lan/labels?sslmode=verify-full")
        DatabasePlace(host='db.lan', user='ann', name='labels', port=5432, tls='verify-full')

        Raises:
            ValueError: it has another form. The message says what it has to be, and has no part of the URL,
                where a password may be.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or PORT
            options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            raise ValueError(FORM) from None
        if parts.scheme not in ("postgresql", "postgres"):
            raise ValueError(FORM)
        if parts.password is not None:
            raise ValueError("without a password, which belongs into DATABASE_PASSWORD in .env")
        place = cls(
            host=parts.hostname or "",
            user=unquote(parts.username or ""),
            name=unquote(parts.path[1:]),
            port=port,
            tls=dict(options).get("sslmode", ""),
        )
        if any(name != "sslmode" for name, _ in options) or (options and place.tls not in TLS_MODES):
            raise ValueError(f"with no other option than sslmode={'|'.join(TLS_MODES)}")
        if not (_HOST.fullmatch(place.host) and _WORD.fullmatch(place.user) and _WORD.fullmatch(place.name)):
            raise ValueError(FORM)
        return place

    def __str__(self) -> str:
        tls = f"?sslmode={self.tls}" if self.tls else ""
        return f"postgresql://{quote(self.user)}@{self.host}:{self.port}/{quote(self.name)}{tls}"

    def named(self, name: str) -> DatabasePlace:
        """Another database of the same server."""
        return replace(self, name=name)

    def tls_mode(self, ca: Path | None = None) -> str:
        """libpq's sslmode. Unless the URL says it, a server elsewhere is asked by TLS. It has to prove who it
        is where there are certificates for it, `ca`.

        >>> DatabasePlace("db.lan", "ann", "labels").tls_mode()
        'require'
        >>> DatabasePlace("db.lan", "ann", "labels").tls_mode(Path("configs/db.pem"))
        'verify-full'
        """
        if self.tls:
            return self.tls
        if ca is not None:
            return "verify-full"
        return "prefer" if self.host in _LOOPBACK else "require"


def name_in_service(file: Path, otherwise: str) -> str:
    """The name of the database that a state in volumes/labelstudio belongs to, from the file that says so.

    A restore makes a database beside the one in service, and this file changes places with the folder.
    """
    try:
        return file.read_text(encoding="utf-8").strip() or otherwise
    except FileNotFoundError:
        return otherwise


@dataclass(frozen=True)
class DatabaseAccess:
    """A place, and what it takes to be let in there. ca: what the server's certificate is checked against."""

    place: DatabasePlace
    password: str = field(repr=False)
    ca: Path | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str], home: Path) -> DatabaseAccess | None:
        """By DATABASE_URL, DATABASE_PASSWORD (a file of SECRETS_DIR, or in the environment), DATABASE_CA, and
        the name in the state of `home`; None without a DATABASE_URL, which is SQLite.

        Raises:
            ValueError: DATABASE_URL has another form.
        """
        if not environment.get("DATABASE_URL"):
            return None
        place = DatabasePlace.parse(environment["DATABASE_URL"])
        noted = home / "volumes" / layout.LABELSTUDIO / layout.DATABASE_NAME_FILE
        file = Path(environment.get("SECRETS_DIR") or "/nowhere", "DATABASE_PASSWORD")
        password = file.read_text(encoding="utf-8") if file.is_file() else ""
        ca = environment.get("DATABASE_CA")
        return cls(
            place.named(name_in_service(noted, place.name)),
            environment.get("DATABASE_PASSWORD") or password,
            home / ca if ca else None,
        )

    @property
    def parameters(self) -> dict[str, str]:
        """As libpq names them, but for the password."""
        place = self.place
        return {
            "host": place.host,
            "port": str(place.port),
            "user": place.user,
            "dbname": place.name,
            "sslmode": place.tls_mode(self.ca),
            **({"sslrootcert": str(self.ca)} if self.ca else {}),
            "connect_timeout": "10",
        }

    def named(self, name: str) -> DatabaseAccess:
        """To another database of the same server."""
        return replace(self, place=self.place.named(name))
