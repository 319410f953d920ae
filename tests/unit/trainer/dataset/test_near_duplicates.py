"""Near-duplicates at the snapshot: a group is on one side, and sides that stand stay."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.films import boards, encoded, film, scene
from support.labelled_folder import LabelledFolder

from labelloop.settings import Settings
from trainer.dataset import near_duplicates
from trainer.dataset.near_duplicates import NearDuplicates
from trainer.dataset.snapshot import Snapshot
from trainer.dataset.split import Side, settle

HELD, TRAIN = Side.HOLDOUT, Side.TRAIN


@pytest.fixture
def labels(tmp_path: Path) -> LabelledFolder:
    return LabelledFolder(Settings(labelloop_home=tmp_path))


def add_films(labels: LabelledFolder, seeds: range, frames: int) -> dict[int, list[str]]:
    return {
        seed: [
            labels.add(f"film-{seed}-{number}.png", encoded(frame))
            for number, frame in enumerate(film(seed, frames))
        ]
        for seed in seeds
    }


def sides(snapshot: Snapshot) -> dict[str, Side]:
    return {image.sha256: image.side for image in snapshot.images}


def project(labels: LabelledFolder) -> Path:
    return labels.settings.models_dir / "1"


def test_all_frames_of_a_film_are_on_one_side_and_a_fifth_is_held_out(labels: LabelledFolder) -> None:
    films = add_films(labels, range(10), 5)
    snapshot = labels.snapshot()
    of = sides(snapshot)
    assert all(len({of[digest] for digest in frames}) == 1 for frames in films.values())
    assert len(snapshot.holdout) == 10 and len(snapshot.train) == 40
    found = NearDuplicates.load(project(labels))
    assert sorted(map(sorted, films.values())) == sorted(map(list, found.groups))
    assert not any("near-duplicates" in warning for warning in snapshot.warnings)


def test_a_copy_that_was_saved_anew_is_on_the_side_of_its_original_also_when_it_comes_later(
    labels: LabelledFolder,
) -> None:
    originals = [labels.add(f"{seed}.png", encoded(scene(seed))) for seed in range(20)]
    first = sides(labels.snapshot())
    copies = [
        labels.add(f"copy-{seed}.jpg", encoded(scene(seed), "JPEG", quality=60, scale=0.5))
        for seed in range(20)
    ]
    later = sides(labels.snapshot(2))
    assert {digest: later[digest] for digest in originals} == first
    assert [later[digest] for digest in copies] == [first[digest] for digest in originals]
    assert list(first.values()).count(HELD) == 4


def test_each_image_is_looked_at_once(labels: LabelledFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    add_films(labels, range(2), 3)
    looked_at: list[Path] = []
    look = near_duplicates._look
    monkeypatch.setattr(near_duplicates, "_look", lambda file: looked_at.append(file) or look(file))
    labels.snapshot()
    assert len(looked_at) == 6
    add_films(labels, range(2, 3), 1)
    labels.snapshot(2)
    assert len(looked_at) == 7
    (project(labels) / "looks.txt").write_text("damaged")
    labels.snapshot(3)
    assert len(looked_at) == 14


def test_a_group_that_is_on_both_sides_stays_so_and_is_said(labels: LabelledFolder) -> None:
    """An earlier release dealt its frames one by one."""
    frames = add_films(labels, range(1), 4)[0]
    others = [labels.add(f"{seed}.png", encoded(scene(seed))) for seed in range(50, 66)]
    settle(project(labels) / "split.json", [*frames, *others], 0)
    recorded = json.loads((project(labels) / "split.json").read_text())
    recorded["sides"][frames[1]] = "holdout"
    for file in ("split.json", ".split.json"):
        (project(labels) / file).write_text(json.dumps(recorded))
    late = labels.add("late.png", encoded(film(0, 5)[4]))
    snapshot = labels.snapshot()
    of = sides(snapshot)
    assert [of[digest] for digest in frames] == [TRAIN, HELD, TRAIN, TRAIN]
    assert of[late] == TRAIN
    [warning] = [warning for warning in snapshot.warnings if "near-duplicates" in warning]
    assert "1 group of near-duplicates on both sides" in warning and "1 image of the hold-out" in warning
    found = NearDuplicates.load(project(labels))
    assert found.straddling(of) == [tuple(sorted([*frames, late]))]


@pytest.mark.parametrize("kind", ["one film", "a camera that stands still"])
def test_images_that_all_look_alike_are_not_all_on_one_side(labels: LabelledFolder, kind: str) -> None:
    if kind == "one film":
        frames = film(3, 40)
    else:
        frames = [scene(3) for _ in range(40)]
        for number, frame in enumerate(frames):
            frame[5 * number : 5 * number + 20, 100:120] = 0
    for number, frame in enumerate(frames):
        labels.add(f"{number}.png", encoded(frame))
    snapshot = labels.snapshot()
    assert 4 <= len(snapshot.holdout) <= 12
    assert any("40 images look so much alike" in warning for warning in snapshot.warnings)


def test_boards_of_one_make_are_no_near_duplicates(labels: LabelledFolder) -> None:
    for number, board in enumerate(boards(40)):
        labels.add(f"{number}.png", encoded(board))
    assert len(labels.snapshot().holdout) == 8
    assert NearDuplicates.load(project(labels)) == NearDuplicates(images=40)


def test_an_image_that_has_gone_or_has_one_colour_is_alone(labels: LabelledFolder, tmp_path: Path) -> None:
    for grey in range(10):
        labels.add(f"{grey}.png", encoded(np.full((50, 50, 3), 20 * grey, np.uint8)))
    assert len(labels.snapshot().holdout) == 2
    assert NearDuplicates.load(project(labels)).groups == ()
    assert near_duplicates._look(tmp_path / "gone.png") is None


def test_a_damaged_file_of_groups_is_as_none(tmp_path: Path) -> None:
    for text in ("", "[]", '{"groups": 3, "images": 1, "split_up": 0}'):
        (tmp_path / "near-duplicates.json").write_text(text)
        assert NearDuplicates.load(tmp_path) == NearDuplicates()
