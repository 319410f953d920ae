"""How long an answer of Label Studio about a person counts, and what counts when there is none."""

from collections.abc import Callable

import pytest
from support.fake_studio import FakeStudio

from labelloop.studio import Studio
from trainer.dashboard.people import FRESH_S, GRACE_S, NoAnswer, People, Person, read_person

BEA = "bea@example.org"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def people(fake_studio: FakeStudio, clock: Clock) -> People:
    """Who is asked about Bea, number 2."""
    fake_studio.add_person(2, BEA)
    return People(Studio(fake_studio.url, "token"), clock)


def test_label_studios_words_make_a_person(people: People, fake_studio: FakeStudio) -> None:
    expected = Person(id=2, email=BEA, administrator=False, stamp=f"a stamp of {BEA}")
    assert people.ask(2) == people.lately(2) == expected
    fake_studio.people[2]["administrator"] = True
    found = people.ask(2)
    assert found is not None and found.administrator


def test_an_answer_counts_for_seconds_for_who_looks_and_not_at_all_for_who_acts(
    people: People, fake_studio: FakeStudio, clock: Clock
) -> None:
    assert people.lately(2) is not None
    fake_studio.people[2]["member"] = False
    clock.now += FRESH_S
    assert people.lately(2) is not None
    assert fake_studio.asked_for == [2]
    clock.now += 0.1
    assert people.lately(2) is None
    fake_studio.people[2]["member"] = True
    assert people.lately(2) is None and people.ask(2) is not None
    assert people.lately(2) is not None
    assert fake_studio.asked_for == [2, 2, 2]
    assert FRESH_S <= 10


def test_who_is_refused_acting_is_refused_looking(people: People, fake_studio: FakeStudio) -> None:
    assert people.lately(2) is not None
    del fake_studio.people[2]
    assert people.ask(2) is None
    assert people.lately(2) is None


def test_without_an_answer_one_may_look_on_for_a_while_and_not_act(
    people: People, fake_studio: FakeStudio, clock: Clock
) -> None:
    assert people.lately(2) is not None
    fake_studio.down = True
    clock.now += GRACE_S
    assert people.lately(2) is not None
    with pytest.raises(NoAnswer, match="503"):
        people.ask(2)
    clock.now += 1
    for _ in range(2):
        with pytest.raises(NoAnswer, match="503"):
            people.lately(2)
    clock.now += FRESH_S
    fake_studio.down = False
    assert people.lately(2) is not None
    assert GRACE_S <= 300


def test_who_was_refused_before_the_silence_stays_so(
    people: People, fake_studio: FakeStudio, clock: Clock
) -> None:
    fake_studio.people[2]["member"] = False
    assert people.lately(2) is None
    fake_studio.down = True
    clock.now += FRESH_S + 1
    with pytest.raises(NoAnswer):
        people.lately(2)


def test_not_everybody_waits_for_a_label_studio_that_is_silent(
    people: People,
    fake_studio: FakeStudio,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert people.lately(2) is not None
    fake_studio.down = True
    clock.now += FRESH_S + 1
    asked: list[int] = []
    ask = people.ask

    def counted(person_id: int) -> Person | None:
        asked.append(person_id)
        return ask(person_id)

    monkeypatch.setattr(people, "ask", counted)
    for _ in range(10):
        assert people.lately(2) is not None
    assert asked == [2]
    clock.now += FRESH_S + 1
    assert people.lately(2) is not None
    assert asked == [2, 2]
    assert caplog.text.count("Label Studio does not say who is a member") == 1


def test_a_login_is_an_answer(people: People, fake_studio: FakeStudio) -> None:
    fake_studio.people[2]["member"] = False
    assert people.lately(2) is None
    person = read_person(fake_studio.people[2] | {"member": True})
    assert person is not None
    people.logged_in(person.id, person)
    assert people.lately(2) == person


def test_a_late_answer_does_not_undo_a_newer_one(
    people: People, fake_studio: FakeStudio, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """She is removed, and refused, while an older question about her is under way."""
    studio = people._studio
    request: Callable[..., object] = studio.request

    def slow(*given: object, **more: object) -> object:
        told = request(*given, **more)
        monkeypatch.setattr(studio, "request", request)
        fake_studio.people[2]["member"] = False
        clock.now += 1
        assert people.ask(2) is None
        return told

    monkeypatch.setattr(studio, "request", slow)
    people.ask(2)
    assert people.lately(2) is None


@pytest.mark.parametrize("answer", [None, [], {}, {"id": 2, "member": True}, {"detail": "?"}, "<html>"])
def test_what_tells_of_nobody_lets_nobody_in(answer: object) -> None:
    with pytest.raises(NoAnswer, match="tells of no person"):
        read_person(answer)


def test_a_token_that_may_not_ask_is_no_answer(
    people: People, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_studio, "answer", lambda *given: (403, {"detail": "no permission"}))
    with pytest.raises(NoAnswer, match="403"):
        people.ask(2)
