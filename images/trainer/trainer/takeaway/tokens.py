"""Tokens for POST /detect. Only their hashes are kept, so a token can be shown once, when it is made."""

import hashlib
import hmac
import json
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from labelloop.errors import Explained
from labelloop.files import replacing
from labelloop.locks import holding

FILE = "detect_tokens.json"
PREFIX = "labelloop_"
WAIT_S = 10.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


class TokenError(Explained):
    """A token cannot be made or revoked; the message says why."""


class Token(BaseModel):
    """project: whose version in service it may ask. of: that project's `uid`, since its number may be given
    to another one; empty where an earlier release made the token. sha256: of the token, which is 256 random
    bits, so that none is found by guessing.
    """

    name: str
    project: int
    of: str = ""
    sha256: str
    made_at: datetime


_Tokens = TypeAdapter(list[Token])


class Tokens:
    """The tokens in the file FILE of a folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    def all(self) -> list[Token]:
        """The oldest first.

        Raises:
            TokenError: the file is damaged.
        """
        try:
            return _Tokens.validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return []
        except ValidationError as error:
            raise TokenError(f"{self._path} is damaged; delete it, and make the tokens anew") from error

    def make(self, name: str, project: int, of: str) -> str:
        """A new token. of: the project's `uid`.

        Raises:
            TokenError: the name is none, or has a token already.
        """
        if not _NAME.fullmatch(name):
            raise TokenError(
                f"NAME={name[:50]!r}: expected 1 to 40 letters, digits, dots, dashes and underscores"
            )
        token = PREFIX + secrets.token_urlsafe(32)
        with holding(self._path.with_suffix(".lock"), WAIT_S):
            known = self.all()
            if any(one.name == name for one in known):
                raise TokenError(f"{name} has a token already; `make token REVOKE={name}` ends it")
            made = Token(name=name, project=project, of=of, sha256=_hash(token), made_at=datetime.now(UTC))
            self._write([*known, made])
        return token

    def revoke(self, name: str) -> None:
        """Raises TokenError: there is none of this name."""
        with holding(self._path.with_suffix(".lock"), WAIT_S):
            known = self.all()
            if all(one.name != name for one in known):
                names = ", ".join(one.name for one in known) or "none"
                raise TokenError(f"REVOKE={name[:50]!r}: there is no such token, but {names}")
            self._write([one for one in known if one.name != name])

    def find(self, token: str) -> Token | None:
        """The token's entry; None for one that was never made or is revoked."""
        given = _hash(token)
        return next((one for one in self.all() if hmac.compare_digest(one.sha256, given)), None)

    def _write(self, tokens: list[Token]) -> None:
        text = json.dumps([one.model_dump(mode="json") for one in tokens], indent=2)
        with replacing(self._path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
