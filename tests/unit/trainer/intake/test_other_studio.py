"""Another Label Studio's token goes to it alone, and its images come by the guarded download."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from unit.labelloop.test_download import Host, body, redirect

from labelloop.images import ImageError
from labelloop.studio import Studio, StudioError
from trainer.intake.other_studio import Fetcher, OtherStudio
from trainer.intake.records import IntakeError

PERSONAL = "head.payload.signature"


@pytest.fixture
def theirs() -> Iterator[Host]:
    host = Host()
    yield host
    host.server.shutdown()


@pytest.fixture
def elsewhere() -> Iterator[Host]:
    host = Host()
    yield host
    host.server.shutdown()


def test_an_image_is_fetched_once_with_the_token(theirs: Host, tmp_path: Path) -> None:
    theirs.paths["/data/upload/1/a.png"] = body(b"image")
    fetcher = Fetcher(tmp_path, "http://ours", OtherStudio(theirs.url, "t0ken"))
    paths = [fetcher.fetch("/data/upload/1/a.png") for _ in range(2)]
    assert paths[0] == paths[1] and paths[0].read_bytes() == b"image" and paths[0].suffix == ".png"
    assert theirs.authorizations == [("/data/upload/1/a.png", "Token t0ken")]


def test_the_token_goes_nowhere_else(theirs: Host, elsewhere: Host, tmp_path: Path) -> None:
    """Nor does anything go to an address of this machine that a task names."""
    elsewhere.paths["/a.png"] = body(b"secret")
    theirs.paths["/data/upload/1/led.png"] = redirect(f"{elsewhere.url}/a.png")
    theirs.paths["/api/projects"] = redirect(f"{elsewhere.url}/api/projects")
    other = OtherStudio(theirs.url, "t0ken")
    for url in ("/data/upload/1/led.png", f"{elsewhere.url}/a.png"):
        with pytest.raises(ImageError, match="has the address 127.0.0.1, which images are not fetched from"):
            Fetcher(tmp_path, theirs.url, other).fetch(url)
    with pytest.raises(StudioError, match="led from"):
        other.projects()
    assert elsewhere.authorizations == []


@pytest.mark.parametrize("token", ["t0ken\nanother", "t0ken another", "t0k\u2014en", "t0ken\x1b[2J"])
def test_what_is_no_token_is_refused_without_being_shown(theirs: Host, token: str) -> None:
    """A library's error for such a header would quote it."""
    with pytest.raises(IntakeError, match="TOKEN_FILE= is a file with the token alone") as error:
        OtherStudio(theirs.url, token).projects()
    assert "t0k" not in str(error.value) and theirs.authorizations == []


@pytest.mark.parametrize("answer", [None, [], {"detail": "no"}, {"access": "a\r\nb"}, {"access": 1}])
def test_an_exchange_that_gives_no_token_is_told(
    theirs: Host, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    monkeypatch.setattr(Studio, "request", lambda *asked, **more: answer)
    with pytest.raises(IntakeError, match="answers the token with none that can be used"):
        OtherStudio(theirs.url, PERSONAL)


def test_an_exports_images_are_fetched_without_a_token(theirs: Host, elsewhere: Host, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="has the address 127.0.0.1"):
        Fetcher(tmp_path, theirs.url, None).fetch(f"{elsewhere.url}/a.png")
    assert elsewhere.authorizations == []


def test_a_personal_token_is_exchanged_and_again_when_it_has_expired(
    theirs: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, str, object]] = []
    answers = iter([{"access": "first"}, StudioError("expired", 401), {"access": "second"}, {"id": 1}])

    def request(studio: Studio, method: str, path: str, **kwargs: object) -> object:
        sent.append((path, str(studio._session.headers.get("Authorization")), kwargs.get("json")))
        answer = next(answers)
        if isinstance(answer, StudioError):
            raise answer
        return answer

    monkeypatch.setattr(Studio, "request", request)
    assert OtherStudio(theirs.url, PERSONAL).project(1) == {"id": 1}
    refresh = ("/api/token/refresh/", "None", {"refresh": PERSONAL})
    assert sent == [
        refresh,
        ("/api/projects/1", "Bearer first", None),
        refresh,
        ("/api/projects/1", "Bearer second", None),
    ]
