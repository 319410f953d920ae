import json
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest

from trainer.dataset.split import Side, Sides, SplitError, load, settle


def digests(count: int, start: int = 0) -> list[str]:
    return [sha256(bytes([n // 256, n % 256])).hexdigest() for n in range(start, start + count)]


def assign(labelled: list[str], recorded: Mapping[str, Side], percent: int) -> dict[str, Side]:
    sides = Sides()
    for digest, side in recorded.items():
        sides.record(digest, side)
    sides.assign(labelled, percent)
    return dict(sides)


def held(sides: Mapping[str, Side]) -> set[str]:
    return {digest for digest, side in sides.items() if side is Side.HOLDOUT}


@pytest.mark.parametrize(("labelled", "holdout"), [(4, 0), (5, 1), (40, 8), (205, 41)])
def test_a_fifth_is_held_out_rounded_down(labelled: int, holdout: int) -> None:
    assert len(held(assign(digests(labelled), {}, 20))) == holdout


def test_the_lowest_hashes_among_the_new_ones_are_held_out() -> None:
    labelled = digests(20)
    assert held(assign(labelled, {}, 20)) == set(sorted(labelled)[:4])


def test_a_recorded_side_never_changes_however_the_share_turns_out() -> None:
    first = assign(digests(10), {}, 50)
    second = assign(digests(100), first, 10)
    assert {digest: second[digest] for digest in first} == first
    assert len(held(second)) == 10
    assert held(assign(digests(20), first, 10)) == held(first), "too many are held out already: none is added"


def test_an_image_that_is_no_longer_labelled_does_not_count_but_keeps_its_side(tmp_path: Path) -> None:
    path = tmp_path / "1" / "split.json"
    first = settle(path, digests(10), 20)
    settle(path, digests(10, start=5), 20)
    again = settle(path, digests(10), 20)
    assert {digest: again[digest] for digest in digests(10)} == first
    assert len(again) == 15


def test_sides_are_recorded_before_they_are_used_and_once_only(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    sides = settle(path, digests(10), 20)
    assert load(path) == sides
    before = path.stat().st_mtime_ns
    assert settle(path, digests(10), 90) == sides
    assert path.stat().st_mtime_ns == before


def test_the_same_bytes_count_once() -> None:
    assert len(assign(digests(5) * 3, {}, 20)) == 5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        json.dumps({"sides": {"aa": "left"}}),
        json.dumps({"sides": {"aa": 3}}),
        json.dumps({"sides": 3}),
        json.dumps({"sides": {"aa": "train", "bb": "holdout"}})[:-9],
    ],
)
def test_a_damaged_file_is_named_and_not_made_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "split.json"
    path.write_text(text)
    with pytest.raises(SplitError, match=r"split\.json is damaged"):
        settle(path, digests(5), 20)
    assert path.read_text() == text


def test_the_file_is_json_by_hash_whatever_the_order(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    sides = settle(path, reversed(digests(10)), 20)
    assert path.read_text() == json.dumps({"sides": dict(sorted(sides.items()))}, indent=1) + "\n"
    assert path.with_name(".split.json").read_text() == path.read_text()


def test_many_groups_with_known_sides_cost_little() -> None:
    """All frames of many short films: each group was once searched for among all images."""
    digests = [sha256(str(number).encode()).hexdigest() for number in range(12_000)]
    group_of = {digest: digests[number // 3 * 3] for number, digest in enumerate(digests)}
    sides = Sides()
    sides.assign(digests[:-1], 20, group_of)
    began = time.process_time()
    sides.assign(digests, 20, group_of)
    assert time.process_time() - began < 3.0, "0.2 s, and 11 s when every group was searched for"
    assert all(sides[digest] == sides[name] for digest, name in group_of.items())


def test_what_was_verified_is_trained_on_and_does_not_count_for_the_share() -> None:
    images = digests(30)
    verified = set(sorted(images)[:20])  # whose hashes come first
    sides = Sides()
    sides.assign(images, 20, verified=verified)
    assert len(held(sides)) == 2 and not held(sides) & verified


def test_a_verified_image_keeps_its_group_together() -> None:
    """Of new groups all go to training with it; into a group of the hold-out it goes itself."""
    held_out, joins, begins, begun_with, *others = sorted(digests(24))
    group_of = {held_out: "old", joins: "old", begins: "new", begun_with: "new"}
    sides = Sides()
    sides.record(held_out, Side.HOLDOUT)
    sides.assign([held_out, joins, begins, begun_with, *others], 50, group_of, verified=[joins, begun_with])
    assert (sides[joins], sides[begins], sides[begun_with]) == (Side.HOLDOUT, Side.TRAIN, Side.TRAIN)
    assert (
        sum(side is Side.HOLDOUT for side in sides.values()) == 11 + 1
    )  # half of the 22 others, and `joins`
