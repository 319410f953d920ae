"""One file that says what the pages say, and asks for nothing."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from support.dashboard import words
from support.dashboard_data import Guesser, finished_round, label_in
from support.dashboard_pages import MENU
from support.fake_studio import FakeStudio

from labelloop.detector import Detector
from trainer.dashboard import predictions, report, stored
from trainer.dashboard.errors import ReportError
from trainer.dashboard.loop import WatchedLoop

TO_BE_DONE = ("/downloads", "/verify")
"""Pages on which something is done; a report has nothing of them."""
PAGES = ("/live", *(path for path in MENU if path not in ("/", *TO_BE_DONE)))
"""/live is what / shows. What is downloaded is no figure."""
FORMS = re.compile(r"<form\b.*?</form>", re.DOTALL)
FIGURES = re.compile(r"<(table|dl|ol)\b.*?</\1>", re.DOTALL)


class Elements(HTMLParser):
    """Every element of a document, with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def values(self, *names: str) -> list[str]:
        return [value for _, attrs in self.found for name in names if (value := attrs.get(name)) is not None]


def said(html: str) -> str:
    """Its words without any blank, for a link's tag makes one."""
    return words(html).replace(" ", "")


@pytest.fixture
def looked_at(loop: WatchedLoop, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch) -> WatchedLoop:
    """Two rounds; v0001 of the first is in service and has looked at the images of the second. One of these
    was labelled from its boxes.
    """
    finished_round(loop, 25, stray=3, champion_stray=40)
    finished_round(loop, 30, stray=40, champion_stray=12)
    assert loop.models(1).champion() == "v0001"
    folder = loop.rounds.folder(2)
    snapshot = stored.snapshot(folder)
    assert snapshot is not None
    guesser = Guesser.of(loop, snapshot, "v0001", 12)
    monkeypatch.setattr(Detector, "load", lambda path, device: guesser)
    predictions.make(folder, loop.models(1).folder("v0001"), loop.settings)
    label_in(fake_studio, snapshot)
    first = next(task for task in fake_studio.tasks.values() if "annotations" in task)
    proposed = {"id": 7, "created_at": "2026-11-01T18:00:00Z", "model_version": "v0001"}
    first["predictions"] = [proposed | {"result": first["annotations"][0]["result"]}]
    for _ in range(10):
        fake_studio.add_task()
    return loop


def test_it_has_every_figure_of_the_pages(client: TestClient, looked_at: WatchedLoop) -> None:
    written = said(report.render(looked_at, 1))
    for page in PAGES:
        html = FORMS.sub("", client.get(f"{page}?project=1").text)
        figures = [said(match[0]) for match in FIGURES.finditer(html)]
        assert figures or page == "/effort", page
        for shown in figures:
            assert shown in written, page


def test_it_asks_for_nothing_and_does_nothing(looked_at: WatchedLoop) -> None:
    elements = Elements(report.render(looked_at, 1))
    assert {tag for tag, _ in elements.found}.isdisjoint(
        {"script", "form", "link", "iframe", "object", "base"}
    )
    addresses = elements.values("src", "href", "srcset", "action", "data-poll")
    assert [a[:60] for a in addresses if not a.startswith(("data:", "#"))] == []
    assert sum(a.startswith("data:image/svg+xml") for a in addresses) == 2 * 4, "two themes a chart"
    assert any(a.startswith("data:image/jpeg") for a in addresses)


def test_ids_are_unique_and_references_lead_to_them(looked_at: WatchedLoop) -> None:
    elements = Elements(report.render(looked_at, 1))
    ids = elements.values("id")
    assert sorted(ids) == sorted(set(ids))
    links = [address[1:] for address in elements.values("href") if address.startswith("#")]
    assert set(links) | set(elements.values("aria-labelledby")) <= set(ids)


def test_a_picture_is_in_it_once_and_what_is_too_much_is_left_out(
    looked_at: WatchedLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [
        a for a in Elements(report.render(looked_at, 1)).values("href") if a.startswith("data:image/jpeg")
    ]
    assert len(pictures) == len(set(pictures)) > 2
    monkeypatch.setattr(report, "PICTURES_BYTES", len(pictures[0]))
    small = report.render(looked_at, 1)
    assert small.count("data:image/jpeg") == 1
    assert f"{len(pictures) - 1} pictures are left out" in words(small)


def test_a_report_that_fails_leaves_the_one_before(looked_at: WatchedLoop) -> None:
    path = report.path_of(looked_at.settings.rounds_dir, 1, "june")
    assert path == looked_at.settings.rounds_dir / "reports" / "june.html"
    report.write(looked_at, 1, path, print)
    before = path.read_bytes()
    (looked_at.models(1).path / "champion").write_text("v0009\n")
    with pytest.raises(ReportError, match="v0009"):
        report.write(looked_at, 1, path, print)
    assert [file.read_bytes() for file in path.parent.iterdir()] == [before]


def test_it_waits_until_label_studio_counts_the_images(
    looked_at: WatchedLoop, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "COUNT_EVERY_S", 0.01)
    fake_studio.down = True
    seen: list[str] = []

    def comes_back(problem: str) -> None:
        seen.append(problem)
        fake_studio.down = len(seen) < 3

    path = report.path_of(looked_at.settings.rounds_dir, 1, "june")
    written = words(report.write(looked_at, 1, path, comes_back).read_text())
    assert len(seen) == 3 and all("503" in problem for problem in seen)
    assert "All 40 Labelled 30 Not labelled yet, or skipped 10" in written


def test_without_the_counts_there_is_no_report(
    looked_at: WatchedLoop, fake_studio: FakeStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "COUNT_S", 0.1)
    monkeypatch.setattr(report, "COUNT_EVERY_S", 0.01)
    fake_studio.down = True
    path = report.path_of(looked_at.settings.rounds_dir, 1, "june")
    with pytest.raises(ReportError, match=r"does not say how many .* 503 .*make status"):
        report.write(looked_at, 1, path, print)
    assert not path.exists()


@pytest.mark.parametrize("name", ["../up.html", "/tmp/x.html", ".hidden", "a/b.html", "a\nb"])
def test_only_a_plain_name_is_taken(name: str, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="plain file name"):
        report.path_of(tmp_path, 1, name)


def test_before_anything_is_there(loop: WatchedLoop) -> None:
    written = words(report.render(loop, 1))
    assert "No round has scored this version on the hold-out yet." in written
    assert "Nothing is labelled yet." in written


def test_looking_first_says_why_it_could_not(loop: WatchedLoop, child_processes: None) -> None:
    finished_round(loop, 25, stray=3, champion_stray=40)
    with pytest.raises(
        ReportError, match=r"v0001 could not look at the images\. The look failed: .* 0 labelled"
    ):
        report.look(loop, 1, lambda text: None)
