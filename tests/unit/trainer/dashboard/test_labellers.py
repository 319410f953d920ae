"""What the page Effort says of the people who labelled: without ranking them, and not to everybody."""

import csv
import io
import re

import pytest
from fastapi.testclient import TestClient
from support.dashboard import words
from support.fake_studio import FakeStudio
from support.labelling_people import box, labelled_image, submitted
from support.shapes import LABEL_CONFIG

from labelloop.labels import parse_label_config
from labelloop.regions import from_results
from trainer.dashboard import report
from trainer.dashboard.agreement import Agreement, compare
from trainer.dashboard.entries import MOST_PEOPLE, read_task
from trainer.dashboard.loop import WatchedLoop

ANN, BEA, CARL, ZOE = 1, 2, 3, 4
CONFIG = parse_label_config(LABEL_CONFIG)
ONE = [box(10, 10)]


@pytest.fixture(autouse=True)
def more_people(login: object, fake_studio: FakeStudio) -> None:
    """Beside Ann, an administrator, and Bea."""
    fake_studio.add_person(CARL, "carl@example.org")
    fake_studio.add_person(ZOE, "Zoe@example.org")


def page(client: TestClient) -> str:
    return client.get("/effort?project=1").text


def table(html: str, heading: str) -> list[list[str]]:
    """The cells of each row of the table below a heading, or one with that label."""
    found = re.search(rf'<table[^>]*aria-label(ledby)?="{heading}".*?</table>', html, re.DOTALL)
    assert found, f"{heading} has no table"
    rows = re.findall(r"<tr.*?</tr>", found[0], re.DOTALL)[1:]
    return [
        [words(cell).replace("&nbsp;", " ") for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


def csv_of(client: TestClient, name: str) -> list[dict[str, str]]:
    answer = client.get(f"/effort/{name}.csv?project=1")
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_of_one_person_alone_nothing_is_said(client: TestClient, fake_studio: FakeStudio) -> None:
    labelled_image(fake_studio, submitted(ANN, ONE))
    labelled_image(fake_studio, submitted(ANN, ONE, last_action="imported", lead_time=None))
    labelled_image(fake_studio, submitted(ANN, ONE, lead_time=None))
    shown = page(client)
    assert "Images labelled 2" in words(shown)
    assert "Who labelled" not in shown and "disagree" not in shown
    assert csv_of(client, "people") == [] == csv_of(client, "disagreement")


def test_people_stand_in_the_order_of_their_names_whatever_they_did(
    client: TestClient, fake_studio: FakeStudio
) -> None:
    for number in range(6):
        labelled_image(fake_studio, submitted(ZOE, ONE, lead_time=5.0 + number))
    labelled_image(fake_studio, submitted(CARL, ONE, lead_time=90.0))
    for _ in range(2):
        labelled_image(fake_studio, submitted(ANN, ONE, lead_time=50.0))
    rows = table(page(client), "people")
    assert [(row[0], row[1], row[2]) for row in rows] == [
        ("ann@example.org", "2", "too few to say"),
        ("carl@example.org", "1", "too few to say"),
        ("Zoe@example.org", "6", "8 s"),
    ]


def test_shares_are_of_what_was_proposed_and_too_few_boxes_have_none(
    client: TestClient, fake_studio: FakeStudio
) -> None:
    """Bea: of 20 boxes 10 as they were, 5 moved, 5 deleted, and 5 drawn. Carl: of 2 one each."""
    for number in range(10):
        first = box(10, 10) if number < 5 else box(13, 10)
        second = [box(60, 60)] if number < 5 else [box(35, 35)]
        labelled_image(fake_studio, submitted(BEA, [first, *second]), proposed=[box(10, 10), box(60, 60)])
    labelled_image(fake_studio, submitted(CARL, ONE), proposed=[box(10, 10), box(60, 60)])
    bea, carl = table(page(client), "people")
    assert bea == [
        "bea@example.org",
        "10",
        "12 s",
        "20",
        "50% (10)",
        "25% (5)",
        "0% (0)",
        "25% (5)",
        "25% (5)",
        "0% (0)",
    ]
    assert carl[3:] == ["2, too few for shares", "1", "0", "0", "1", "0", "0"]
    assert csv_of(client, "people")[0] == {
        "name": "bea@example.org",
        "how": "in the editor",
        "images": "10",
        "images with a time": "10",
        "median seconds": "12.0",
        "left out as pauses": "0",
        "changed by others": "0",
        "proposed": "20",
        "accepted": "10",
        "moved": "5",
        "relabelled": "0",
        "deleted": "5",
        "drawn": "5",
        "clicked": "0",
        "boxes in the result": "20",
    }


def test_moved_and_relabelled_are_apart_and_clicks_have_a_column(
    client: TestClient, fake_studio: FakeStudio
) -> None:
    """Bea: of 20 boxes 5 moved, 15 with another label; she clicked for 5 more. Carl's row is not empty."""
    wrong = [box(10, 10), box(60, 60)]
    for number in range(10):
        mine = [box(10, 10, "crate"), box(62, 60) if number < 5 else box(60, 60, "crate")]
        if number < 5:
            mine.append(box(35, 35) | {"meta": {"from": "click"}, "origin": "prediction"})
        labelled_image(fake_studio, submitted(BEA, mine), proposed=wrong)
    labelled_image(fake_studio, submitted(CARL, ONE), proposed=ONE)
    bea, _ = table(page(client), "people")
    assert bea[4:] == ["0% (0)", "25% (5)", "75% (15)", "0% (0)", "0% (0)", "20% (5)"]
    row = csv_of(client, "people")[0]
    assert [row[name] for name in ("moved", "relabelled", "drawn", "clicked")] == ["5", "15", "0", "5"]


def test_times_with_a_pause_are_left_out_and_told(client: TestClient, fake_studio: FakeStudio) -> None:
    """The median of all is 40 s, so what took longer than 400 s is taken for a pause."""
    for lead in (20.0, 30.0, 30.0, 60.0, 70.0, 401.0, 402.0, 9000.0):
        labelled_image(fake_studio, submitted(BEA, ONE, lead_time=lead))
    for _ in range(7):
        labelled_image(fake_studio, submitted(CARL, ONE, lead_time=40.0))
    shown = page(client)
    assert [row[2] for row in table(shown, "people")] == ["30 s", "40 s"]
    assert "bea@example.org: 3 images left out of the median as open for more than 6:40 min." in words(shown)
    assert "open for more than 6:40 min (ten times the median" in words(shown)


def test_in_quick_projects_no_time_below_five_minutes_is_a_pause(
    client: TestClient, fake_studio: FakeStudio
) -> None:
    for lead in (2.0, 2.0, 2.0, 299.0, 301.0):
        labelled_image(fake_studio, submitted(BEA, ONE, lead_time=lead))
    labelled_image(fake_studio, submitted(CARL, ONE, lead_time=2.0))
    assert csv_of(client, "people")[0]["left out as pauses"] == "1"


def test_who_is_gone_or_no_person_is_named_for_what_it_is(
    client: TestClient, fake_studio: FakeStudio
) -> None:
    """Renamed, removed, deleted from Label Studio, a program with Ann's token, and what Ann imported."""
    fake_studio.people[BEA]["email"] = "beatrice@example.org"
    fake_studio.people[CARL]["member"] = False
    for user in (BEA, CARL, 99, None):
        labelled_image(fake_studio, submitted(user, ONE))
    labelled_image(fake_studio, submitted(ANN, ONE, lead_time=None))
    labelled_image(fake_studio, submitted(ANN, ONE, lead_time=None, last_action="imported"))
    labelled_image(fake_studio, submitted(ANN, ONE, lead_time=7.0, import_id=12))
    rows = table(page(client), "people")
    assert [(row[0], row[1]) for row in rows] == [
        ("a deleted user", "1"),
        ("beatrice@example.org", "1"),
        ("carl@example.org (no longer a member)", "1"),
        ("user 99 (no longer a member)", "1"),
        ("a program, as ann@example.org", "1"),
        ("imported, as ann@example.org", "2"),
    ]
    assert rows[4][2] == "no time: not the editor"
    assert rows[5][2:] == ["no time: not drawn here", *[""] * 7]


def test_what_somebody_else_changed_later_is_told(client: TestClient, fake_studio: FakeStudio) -> None:
    labelled_image(fake_studio, submitted(BEA, ONE, updated_by=ANN))
    labelled_image(fake_studio, submitted(CARL, ONE))
    assert "bea@example.org: 1 image was changed by somebody else since." in words(page(client))


def disputed(studio: FakeStudio) -> None:
    """Task 1: Bea and Carl differ in one box of three, and a round learns Carl's. Task 2: they agree. Task 3:
    Ann and Zoe differ in all of four: each drew one alone, one has two labels, one is loose. Ann was last.
    """
    labelled_image(
        studio,
        submitted(BEA, [box(10, 10), box(60, 60), box(10, 60)], 1),
        submitted(CARL, [box(10, 10), box(60, 60)], 2),
    )
    labelled_image(studio, submitted(BEA, ONE, 3), submitted(CARL, ONE, 1))
    labelled_image(
        studio,
        submitted(ZOE, [box(0, 0), box(30, 30), box(60, 60)], 1),
        submitted(ANN, [box(5, 0), box(30, 30, "crate"), box(0, 75)], 2),
    )


def test_where_two_people_disagree(client: TestClient, fake_studio: FakeStudio) -> None:
    disputed(fake_studio)
    shown = page(client)
    assert table(shown, "By pair") == [
        ["ann@example.org and Zoe@example.org", "1", "0", "4, too few for a share", "0", "1", "1"]
        + ["2: ann@example.org 1, Zoe@example.org 1"],
        ["bea@example.org and carl@example.org", "2", "1", "4, too few for a share", "3", "0", "0"]
        + ["1: bea@example.org 1, carl@example.org 0"],
    ]
    how = "1 that ann@example.org alone drew, 1 that Zoe@example.org alone drew, 1 of another label, 1 loose"
    assert table(shown, "disputes") == [
        ["Task 3", "ann@example.org and Zoe@example.org", "4 of 4", how, "ann@example.org"],
        ["Task 1", "bea@example.org and carl@example.org", "1 of 3", "1 that bea@example.org alone drew"]
        + ["carl@example.org"],
    ]
    assert re.search(r'href="[^"]*/projects/1/data\?task=3"', shown)
    assert [(row["task"], row["differing boxes"]) for row in csv_of(client, "disagreement")] == [
        ("3", "4"),
        ("1", "1"),
    ]


def test_enough_boxes_have_a_share(client: TestClient, fake_studio: FakeStudio) -> None:
    for number in range(5):
        four = [box(5, 5), box(60, 5), box(5, 60), box(60, 60)]
        labelled_image(fake_studio, submitted(BEA, four), submitted(CARL, four[number == 0 :], 1))
    assert table(page(client), "By pair")[0][3:5] == ["20", "95% (19)"]


def test_an_annotation_counts_once_a_person_and_skipped_ones_do_not(
    client: TestClient, fake_studio: FakeStudio
) -> None:
    """Bea changed her mind; what Carl skipped, and what a program wrote, is nobody's opinion."""
    labelled_image(
        fake_studio,
        submitted(BEA, [], 1),
        submitted(BEA, ONE, 5),
        submitted(ZOE, ONE, 2),
        submitted(CARL, [], 6, was_cancelled=True),
        submitted(ANN, [], 3, lead_time=None),
    )
    shown = page(client)
    assert table(shown, "By pair") == [
        ["bea@example.org and Zoe@example.org", "1", "1", "1, too few for a share", "1", "0", "0", "0"]
    ]
    assert "wherever two people labelled an image, they agree" in shown


def test_several_people_without_an_image_in_common(client: TestClient, fake_studio: FakeStudio) -> None:
    labelled_image(fake_studio, submitted(BEA, ONE))
    labelled_image(fake_studio, submitted(CARL, ONE))
    assert "No image was labelled by two people" in page(client)


def test_a_labeller_sees_her_own_row_and_the_images_that_she_labelled(
    labeller: TestClient, fake_studio: FakeStudio
) -> None:
    disputed(fake_studio)
    shown = page(labeller)
    assert [row[0] for row in table(shown, "people")] == ["bea@example.org"]
    assert [row[0] for row in table(shown, "By pair")] == ["bea@example.org and carl@example.org"]
    assert [row[0] for row in table(shown, "disputes")] == ["Task 1"]
    assert "administrators see everybody's" in shown
    assert "ann@example.org" not in shown and "Zoe@example.org" not in shown
    assert [row["name"] for row in csv_of(labeller, "people")] == ["bea@example.org"]
    assert [row["task"] for row in csv_of(labeller, "disagreement")] == ["1"]


def test_a_labeller_who_did_nothing_yet_is_told_so(labeller: TestClient, fake_studio: FakeStudio) -> None:
    labelled_image(fake_studio, submitted(ANN, ONE))
    labelled_image(fake_studio, submitted(CARL, ONE))
    shown = page(labeller)
    assert "You have not labelled an image here yet." in shown
    assert "@example.org" not in shown.replace("bea@example.org", "")


def test_a_report_which_is_handed_on_names_nobody(loop: WatchedLoop, fake_studio: FakeStudio) -> None:
    disputed(fake_studio)
    written = report.render(loop, 1)
    assert "@example.org" not in written
    assert "Their names and times are on the dashboard" in written


def test_pairs_are_those_of_the_label_errors(fake_studio: FakeStudio) -> None:
    """One rule of what two boxes of a thing are, for people and for the model."""
    one, other = [box(0, 0), box(40, 40)], [box(6, 0), box(41, 40)]
    number = labelled_image(fake_studio, submitted(BEA, one), submitted(CARL, other, 1))
    found = read_task(fake_studio.tasks[number], CONFIG)
    assert found is not None
    (compared,) = found.comparisons
    kinds = [
        finding.kind
        for finding in compare(*(from_results(boxes, CONFIG, (640, 480))[0] for boxes in (one, other)))
    ]
    assert sorted(kinds) == [Agreement.LOOSE, Agreement.RIGHT]
    assert (compared.same, compared.loose, compared.differing) == (1, 1, 1)


def test_of_a_crowd_the_newest_are_compared(fake_studio: FakeStudio) -> None:
    """Else a task that a hundred people labelled would have 4,950 pairs."""
    rows = [submitted(user, ONE, minute=59 - user) for user in range(1, MOST_PEOPLE + 5)]
    found = read_task(fake_studio.tasks[labelled_image(fake_studio, *rows)], CONFIG)
    assert found is not None and len(found.entries) == MOST_PEOPLE + 4
    compared = {user for row in found.comparisons for user in row.people}
    assert compared == set(range(1, MOST_PEOPLE + 1))
