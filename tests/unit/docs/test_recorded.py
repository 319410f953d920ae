"""The pages of recorded figures against the records in docs/benchmarks/."""

import json

from support.documents import PAGES, REPO

from lifecycle.dev.record_pages import PAGE, pages
from lifecycle.dev.records import FOLDER, read, without_places

RECORDS = sorted((REPO / FOLDER).glob("*.json"))


def test_pages_say_what_the_records_say() -> None:
    wanted = pages(REPO)
    stale = [str(path) for path, text in wanted.items() if (REPO / path).read_text() != text]
    assert not stale, "`make figures` makes them anew"
    assert set(wanted) > {PAGE}, "no page has tables of recorded figures"


def test_every_mark_has_its_end() -> None:
    for page in PAGES:
        text = page.read_text()
        assert text.count("<!-- figures: ") == text.count("<!-- end of figures -->"), page


def test_records_can_be_read() -> None:
    assert {record.file for record in read(REPO)} == {path.name for path in RECORDS}


def test_no_record_names_a_place_on_its_machine() -> None:
    for path in RECORDS:
        row = json.loads(path.read_text())
        assert without_places(row) == row, path
