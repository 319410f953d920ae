"""When a chore is due: by its period, sooner when poked, later after a failure."""

import logging

import pytest

from trainer.worker.chores import FIRST_PAUSE_S, LONGEST_PAUSE_S, Chore


def test_pauses_double_up_to_a_minute() -> None:
    now = [0.0]
    pauses = []

    def failing() -> None:
        raise OSError("http://nowhere does not answer")

    chore = Chore("test", 5.0, failing, clock=lambda: now[0])
    for _ in range(8):
        chore.run_if_due()
        pauses.append(chore.due_in())
        now[0] += chore.due_in()
    assert pauses == [FIRST_PAUSE_S, 4.0, 8.0, 16.0, 32.0, LONGEST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    assert chore.error == "http://nowhere does not answer"
    chore.work = lambda: None
    chore.run_if_due()
    assert chore.error is None
    assert chore.due_in() == 5.0


def test_a_chore_that_tries_often_does_not_repeat_its_reason_as_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now, reason, tries, said = [0.0], ["refused"], [], []

    def failing() -> None:
        tries.append(now[0])
        raise OSError(reason[0])

    chore = Chore("test", 5.0, failing, clock=lambda: now[0], longest_pause_s=FIRST_PAUSE_S)
    with caplog.at_level(logging.WARNING):
        while now[0] < 60:
            chore.run_if_due()
            said += [now[0]] if caplog.records else []
            caplog.clear()
            now[0] += 1.0
        assert tries == [2.0 * count for count in range(30)]
        assert said == [0.0, 2.0, 6.0, 14.0, 30.0]
        reason[0] = "reset"
        chore.run_if_due()
    assert "test: reset; again in 2 s" in caplog.text, "another reason is said at once"


def test_a_poke_hurries_a_chore_but_not_one_that_waits_after_a_failure() -> None:
    now = [0.0]
    chore = Chore("test", 5.0, lambda: None, clock=lambda: now[0])
    chore.run_if_due()
    chore.poke()
    assert chore.due_in() == 0.0
    chore.work = lambda: 1 // 0
    chore.run_if_due()
    chore.poke()
    assert chore.due_in() == FIRST_PAUSE_S
