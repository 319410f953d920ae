"""What labellers are told, and how our own texts are told from people's."""

import re
from pathlib import Path

import pytest
from support.former import INSTRUCTIONS as OF_AN_EARLIER_RELEASE

from labelloop.instructions import (
    ADOPTED,
    DESCRIPTION,
    UNDER_WAY,
    are_former,
    instructions,
    is_ours,
    with_progress,
)


def test_they_name_every_key_and_lead_to_the_dashboard() -> None:
    told = instructions()
    for key in ("Backspace", "Ctrl+Z", "Ctrl+wheel", "Shift+drag", "Ctrl+Enter", "Label's key, then drag"):
        assert f"<b>{key}</b>" in told
    assert '<a href="/labelloop/dashboard">' in told
    assert '<a href="https://x.org">' in instructions("https://x.org")


def test_only_the_unchanged_ones_of_an_earlier_release_are_former() -> None:
    """Label Studio keeps them without blanks at the ends."""
    assert are_former(OF_AN_EARLIER_RELEASE) and are_former(OF_AN_EARLIER_RELEASE.strip())
    assert not are_former(OF_AN_EARLIER_RELEASE.replace("tightly", "loosely"))
    assert not are_former("") and not are_former(instructions())


@pytest.mark.parametrize("own", [DESCRIPTION, ADOPTED])
@pytest.mark.parametrize(
    ("labelled", "images", "next_in", "begins"),
    [
        (0, 1, None, "0 of 1 image labelled. "),
        (12, 40, 8, "12 of 40 images labelled, next round in 8. "),
        (1234, 5678, UNDER_WAY, "1234 of 5678 images labelled, a round is under way. "),
    ],
)
def test_progress_is_replaced_by_progress(
    own: str, labelled: int, images: int, next_in: int | str | None, begins: str
) -> None:
    told = with_progress(own, labelled, images, next_in)
    assert told == begins + own and is_ours(told)
    assert with_progress(told, 13, 40, 7) == f"13 of 40 images labelled, next round in 7. {own}"


@pytest.mark.parametrize(
    "theirs", ["", "Our cats.", f"Our cats. {ADOPTED}", f"{ADOPTED} Soon.", "1 of 2 images"]
)
def test_a_persons_own_description_is_not_ours(theirs: str) -> None:
    assert not is_ours(theirs)


def test_the_pages_script_reads_the_progress_as_it_is_written() -> None:
    script = Path(__file__).parents[3] / "images/labelstudio/provisioner/templates/labelloop/editor.js"
    found = re.search(r"= /(\^.*?)/\.exec", script.read_text())
    assert found is not None
    for next_in in (None, 3, UNDER_WAY):
        told = with_progress(ADOPTED, 1, 2, next_in)
        read = re.match(found[1], told)
        assert read is not None and told == f"{read[0]}. {ADOPTED}"
