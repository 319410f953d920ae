"""The simulated person's account goes with her run, or with the next one; nobody else's ever does."""

from pathlib import Path
from typing import Any

import pytest

from labelloop import locks
from trainer.env import TrainerSettings
from trainer.simulate import account
from trainer.simulate.account import signed_up
from trainer.simulate.errors import SimulationError

LEFT, ALIVE = "simulated.0123456789ab@labelloop.invalid", "simulated.ba9876543210@labelloop.invalid"
REAL = (
    "admin@labelloop.local",
    "simulated@labelloop.invalid",
    "simulated.anna@labelloop.invalid",
    "simulated.0123456789ab@labelloop.invalid.example.org",
    "simulatedx0123456789ab@labelloop.invalid",
    "ann+simulated.0123456789ab@labelloop.invalid",
)


class Users:
    """Label Studio's users, by id."""

    url = "http://127.0.0.1:1"

    def __init__(self, *emails: str) -> None:
        self.emails = dict(enumerate(emails, start=1))

    def request(self, method: str, path: str) -> Any:
        match method, path:
            case "GET", "/api/users/":
                return [{"id": number, "email": email} for number, email in self.emails.items()]
            case "GET", "/api/invite":
                return {"invite_url": "/user/signup/?token=t"}
            case "GET", "/labelloop/people/me":
                return {"id": max(self.emails)}
            case "DELETE", _:
                del self.emails[int(path.split("/")[3])]
                return None
        raise AssertionError(path)


@pytest.fixture
def settings(tmp_path: Path) -> TrainerSettings:
    return TrainerSettings(labelloop_home=tmp_path)


def signing_up(users: Users, monkeypatch: pytest.MonkeyPatch, problem: Exception | None = None) -> None:
    def sign_up(url: str, link: str, email: str, *rest: object) -> str:
        users.emails[max(users.emails) + 1] = email
        if problem:
            raise problem
        return "token"

    monkeypatch.setattr(account, "_sign_up", sign_up)
    monkeypatch.setattr(account, "PatientStudio", lambda url, token, say: users)


def test_what_a_killed_run_left_goes_with_the_next_and_nobody_elses(
    settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = Users(*REAL, LEFT, ALIVE)
    signing_up(users, monkeypatch)
    said: list[str] = []
    left = settings.rounds_dir / "simulated.0123456789ab.lock"
    with locks.holding(left):
        pass  # which leaves the file, as a kill does
    with locks.holding(settings.rounds_dir / "simulated.ba9876543210.lock"):
        with signed_up(users, settings, said.append) as person:  # type: ignore[arg-type]
            assert set(users.emails.values()) == {*REAL, ALIVE, person.email}
            assert locks.is_held(settings.rounds_dir / f"{person.email.partition('@')[0]}.lock")
        assert set(users.emails.values()) == {*REAL, ALIVE}
    assert len(said) == 1 and LEFT in said[0]
    assert not left.exists()


def test_an_account_goes_whatever_fails_behind_its_making(
    settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = Users(*REAL)
    signing_up(users, monkeypatch, SimulationError("its token was refused"))
    with (
        pytest.raises(SimulationError, match="its token"),
        signed_up(users, settings, print),  # type: ignore[arg-type]
    ):
        raise AssertionError
    assert set(users.emails.values()) == set(REAL)
    assert list(settings.rounds_dir.glob("*.lock")) == []
