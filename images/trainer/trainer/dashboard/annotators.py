"""The names of those who labelled, by their ids, as Label Studio knows them now."""

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from labelloop.studio import Studio, StudioError
from trainer.dashboard.entries import NOBODY, Author, Origin
from trainer.dashboard.people import PERSON

DELETED = "a deleted user"
GONE = "no longer a member"


class _Told(BaseModel):
    email: str
    member: bool


@dataclass(frozen=True)
class Annotator:
    """A user who labelled. member: whether she is one of the organisation's still."""

    user: int
    name: str
    member: bool = True

    def __str__(self) -> str:
        return self.name if self.member or self.name == DELETED else f"{self.name} ({GONE})"


def in_words(author: Author, annotator: Annotator) -> str:
    """Whose an annotation is: "ann@example.org", "ann@example.org, on the page Verify", "a program, as
    ann@example.org".
    """
    match author.origin:
        case Origin.VERIFIED:
            return f"{annotator}, on the page Verify"
        case Origin.PROGRAM:
            return f"a program, as {annotator}"
        case Origin.IMPORT:
            return f"imported, as {annotator}"
    return str(annotator)


def ask(studio: Studio, users: Iterable[int]) -> dict[int, Annotator]:
    """By id, everyone of `users`. A renamed user has her present address.

    Raises:
        StudioError: Label Studio does not answer.
    """
    return {user: _ask(studio, user) for user in users}


def unknown(user: int) -> Annotator:
    """A user of whom nobody has been asked, or who is not there any more."""
    return Annotator(user, DELETED if user == NOBODY else f"user {user}", member=False)


def _ask(studio: Studio, user: int) -> Annotator:
    if user == NOBODY:
        return unknown(user)
    try:
        told = _Told.model_validate(studio.request("GET", PERSON.format(user)))
    except StudioError as error:
        if error.status != 404:
            raise
        return unknown(user)
    except ValidationError as error:
        raise StudioError(f"Label Studio tells of no person: {str(error)[:200]}") from error
    return Annotator(user, told.email, told.member)
