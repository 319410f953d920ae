"""What is not used is known soon after its cause, and forgotten soon after that is gone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import clocks, shapes
from support.fake_studio import FakeStudio
from support.labelled_tasks import label, region, submit

from labelloop.box_sizes import SIZES_FILE, SizesBook
from labelloop.images import ImageError
from labelloop.locks import holding
from labelloop.studio import Studio
from trainer.dataset import examine
from trainer.dataset.left_out import Kind
from trainer.dataset.snapshot import collect
from trainer.dataset.survey import Survey, forget_all_but
from trainer.env import TrainerSettings
from trainer.peers.projects import fetch
from trainer.worker import surveyor as module
from trainer.worker.surveyor import Surveyor

BROKEN = region(from_name="box")


@pytest.fixture
def surveyor(loop_settings: TrainerSettings, studio: Studio) -> Surveyor:
    return Surveyor(loop_settings, studio)


def listed(surveyor: Surveyor, settings: TrainerSettings, studio: Studio) -> list[tuple[int, Kind]]:
    surveyor.run(fetch(studio, 1))
    return said(settings)


def said(settings: TrainerSettings) -> list[tuple[int, Kind]]:
    survey = Survey.load(settings.rounds_dir, 1)
    assert survey is not None
    return sorted((row.task, row.kind) for row in survey.left_out)


def snapshot(studio: Studio, settings: TrainerSettings) -> None:
    collect(studio, 1, settings, lambda fraction, text: None)


def test_a_new_annotation_is_listed_and_goes_once_it_is_mended(
    surveyor: Surveyor, loop_settings: TrainerSettings, studio: Studio, fake_studio: FakeStudio, images: Path
) -> None:
    label(fake_studio, images)
    assert listed(surveyor, loop_settings, studio) == []
    broken, deleted, skipped = (label(fake_studio, images, BROKEN) for _ in range(3))
    assert listed(surveyor, loop_settings, studio) == [(n, Kind.REGION) for n in (broken, deleted, skipped)]
    submit(fake_studio, broken, region())
    del fake_studio.tasks[deleted]
    fake_studio.tasks[skipped]["annotations"][0]["was_cancelled"] = True
    assert listed(surveyor, loop_settings, studio) == []


def test_what_a_snapshot_found_goes_with_its_cause(
    surveyor: Surveyor, loop_settings: TrainerSettings, studio: Studio, fake_studio: FakeStudio, images: Path
) -> None:
    label(fake_studio, images)
    gone, torn, twin, junk = (label(fake_studio, images) for _ in range(4))
    content = (images / f"{torn}.png").read_bytes()
    (images / f"{gone}.png").unlink()
    (images / f"{torn}.png").write_bytes(content[:99])
    (images / f"{twin}.png").write_bytes((images / "1.png").read_bytes())
    sliver = region(value=region()["value"] | {"width": 0.4})
    submit(fake_studio, junk, region(), sliver)
    snapshot(studio, loop_settings)
    expected = [(1, Kind.SAME_BYTES), (gone, Kind.AWAY), (torn, Kind.UNREADABLE), (junk, Kind.SLIVER)]
    assert said(loop_settings) == expected
    assert listed(surveyor, loop_settings, studio) == expected, "nothing has changed"
    shapes.picture(gone).image.save(images / f"{gone}.png")
    (images / f"{torn}.png").write_bytes(content)
    del fake_studio.tasks[twin]
    submit(fake_studio, junk, region())
    assert listed(surveyor, loop_settings, studio) == []


def test_only_changed_tasks_are_asked_for_but_all_when_the_labels_change(
    surveyor: Surveyor, loop_settings: TrainerSettings, studio: Studio, fake_studio: FakeStudio, images: Path
) -> None:
    long_ago = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    for _ in range(3):
        fake_studio.tasks[label(fake_studio, images)]["updated_at"] = long_ago
    listed(surveyor, loop_settings, studio)
    label(fake_studio, images)
    fake_studio.pages.clear()
    assert listed(surveyor, loop_settings, studio) == []
    assert fake_studio.pages == [(1, 1)], "one of four"
    used = {row["value"]["rectanglelabels"][0] for row in fake_studio.tasks[1]["annotations"][0]["result"]}
    config = fake_studio.projects[1]["label_config"]
    fake_studio.projects[1]["label_config"] = config.replace(f'value="{used.pop()}"', 'value="globe"')
    assert (1, Kind.UNKNOWN_LABEL) in listed(surveyor, loop_settings, studio)
    fake_studio.projects[1]["label_config"] = config
    assert listed(surveyor, loop_settings, studio) == []


def test_what_there_was_no_time_for_stays_and_is_next(
    loop_settings: TrainerSettings, studio: Studio, fake_studio: FakeStudio, images: Path
) -> None:
    label(fake_studio, images)
    for _ in range(3):
        label(fake_studio, images, BROKEN)
    clock = iter(range(0, 1000, 15))
    surveyor = Surveyor(loop_settings, studio, lambda: float(next(clock)))
    assert len(listed(surveyor, loop_settings, studio)) == 3
    for number in (2, 3, 4):
        submit(fake_studio, number, region())
    left = [len(listed(surveyor, loop_settings, studio)) for _ in range(3)]
    assert left == [2, 1, 0], "one a run"


def test_a_server_that_is_away_is_not_asked_for_every_image(
    surveyor: Surveyor,
    loop_settings: TrainerSettings,
    studio: Studio,
    fake_studio: FakeStudio,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    label(fake_studio, images)
    for _ in range(9):
        number = label(fake_studio, images)
        fake_studio.tasks[number]["data"]["image"] = f"https://example.org/{number}.png"
    asked, up = [], False
    real = examine.resolve_task_image  # type: ignore[attr-defined]

    def resolve(url: str, *rest: object) -> Path | bytes:
        if not url.startswith("https:"):
            return real(url, *rest)
        asked.append(url)
        if not up:
            raise ImageError(f"{url}: 503 Service Unavailable")
        return (images / url.rpartition("/")[2]).read_bytes()

    monkeypatch.setattr(examine, "resolve_task_image", resolve)
    snapshot(studio, loop_settings)
    asked.clear()
    for run in range(3):
        assert len(listed(surveyor, loop_settings, studio)) == 9
        assert len(asked) == 3 * (run + 1)
    assert len(set(asked)) == 9, "others each time"
    up = True
    assert listed(surveyor, loop_settings, studio) == []


def test_a_snapshot_that_is_being_taken_is_not_waited_for(
    surveyor: Surveyor, loop_settings: TrainerSettings, studio: Studio
) -> None:
    with holding(loop_settings.rounds_dir / "snapshot.lock"):
        surveyor.run(fetch(studio, 1))
    assert Survey.load(loop_settings.rounds_dir, 1) is None


def test_a_project_that_is_gone_is_forgotten_and_a_damaged_file_is_made_anew(
    surveyor: Surveyor, loop_settings: TrainerSettings, studio: Studio
) -> None:
    listed(surveyor, loop_settings, studio)
    survey = Survey.load(loop_settings.rounds_dir, 1)
    assert survey is not None
    replace(survey, project=2).write(loop_settings.rounds_dir)
    forget_all_but(loop_settings.rounds_dir, {1})
    assert [path.name for path in (loop_settings.rounds_dir / "data").iterdir()] == ["1.json"]
    (loop_settings.rounds_dir / "data" / "1.json").write_text('{"project": 1')
    assert Survey.load(loop_settings.rounds_dir, 1) is None
    assert listed(surveyor, loop_settings, studio) == []


def test_a_long_list_is_looked_at_in_turns_and_what_was_changed_at_once(
    surveyor: Surveyor,
    loop_settings: TrainerSettings,
    studio: Studio,
    fake_studio: FakeStudio,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST", 4)
    long_ago = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    broken = [label(fake_studio, images, BROKEN) for _ in range(12)]
    assert len(listed(surveyor, loop_settings, studio)) == 12
    for number in broken:
        fake_studio.tasks[number]["updated_at"] = long_ago
    for number in broken[:2]:
        del fake_studio.tasks[number]
    submit(fake_studio, broken[-1], region())
    fake_studio.tasks[broken[-1]]["updated_at"] = datetime.now(UTC).isoformat()
    assert broken[-1] not in [number for number, _ in listed(surveyor, loop_settings, studio)]
    fake_studio.tasks[broken[-1]]["updated_at"] = long_ago
    fake_studio.pages.clear()
    for _ in range(3):
        last = listed(surveyor, loop_settings, studio)
    assert sum(rows for _, rows in fake_studio.pages) <= 12, "not all of them each time"
    assert last == [(number, Kind.REGION) for number in broken[2:-1]]


def test_the_sizes_of_boxes_are_kept_for_clicks(
    surveyor: Surveyor, loop_settings: TrainerSettings, studio: Studio, fake_studio: FakeStudio, images: Path
) -> None:
    """Also those of before this release, which did not keep them, and after the file was damaged."""
    drawn = region(original_width=640, original_height=480)
    first = label(fake_studio, images, drawn, plain=False)
    surveyor.run(fetch(studio, 1))
    folder = loop_settings.models_dir / "1"
    folder.mkdir(parents=True)
    surveyor.run(fetch(studio, 1))
    path = folder / SIZES_FILE

    def sizes() -> dict[str, list[list[float]]]:
        return {label: found.round(3).tolist() for label, found in SizesBook(path).by_label().items()}

    assert sizes() == {"ball": [[0.3, 0.225]]}
    submit(fake_studio, first, {**drawn, "value": {**drawn["value"], "width": 60}})
    surveyor.run(fetch(studio, 1))
    assert sizes() == {"ball": [[0.6, 0.225]]}
    path.write_text("torn")
    surveyor.run(fetch(studio, 1))
    assert sizes() == {"ball": [[0.6, 0.225]]}


def test_a_clock_that_was_ahead_hides_nothing_that_comes_after(
    surveyor: Surveyor,
    loop_settings: TrainerSettings,
    studio: Studio,
    fake_studio: FakeStudio,
    images: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    label(fake_studio, images)
    with monkeypatch.context() as meanwhile:
        clocks.set_ahead(meanwhile, module)
        assert listed(surveyor, loop_settings, studio) == []
    broken = label(fake_studio, images, BROKEN)
    assert listed(surveyor, loop_settings, studio) == [(broken, Kind.REGION)]
