from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.snapshot_images import image

from labelloop.boxes import iou_matrix
from trainer.dataset.junk import Junk, find, without
from trainer.dataset.labelled import Corners, SnapshotImage
from trainer.dataset.left_out import Kind

LARGE = (100.0, 100.0, 200.0, 200.0)


def having(*boxes: Corners, labels: tuple[int, ...] = ()) -> SnapshotImage:
    return replace(image(1), xyxy=boxes, labels=labels or (0,) * len(boxes))


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ((10.0, 10.0, 12.9, 12.9), Kind.SPECK),
        ((10.0, 10.0, 11.0, 11.0), Kind.SPECK),
        ((10.0, 10.0, 11.9, 90.0), Kind.SLIVER),
        ((10.0, 10.0, 200.0, 11.5), Kind.SLIVER),
    ],
)
def test_what_no_one_could_see_is_ignored(box: Corners, kind: Kind) -> None:
    whole = having(LARGE, box)
    assert find(whole) == [Junk(1, kind)]
    assert without(whole) == replace(whole, xyxy=(LARGE,), labels=(0,), ignored=((0, box),))


@pytest.mark.parametrize(
    "box", [(10.0, 10.0, 13.0, 13.0), (10.0, 10.0, 12.0, 90.0), (10.0, 10.0, 12.0, 13.0)]
)
def test_what_is_small_or_thin_but_can_be_seen_stays(box: Corners) -> None:
    assert find(having(LARGE, box)) == []


@pytest.mark.parametrize(
    "twin",
    [
        LARGE,  # drawn twice
        (105.0, 105.0, 195.0, 195.0),  # IoU 0.81, inside
        (92.0, 100.0, 200.0, 200.0),  # IoU 0.93, larger
        (103.0, 98.0, 203.0, 198.0),  # IoU 0.91, beside
    ],
)
def test_of_nested_twins_of_one_label_the_larger_stays(twin: Corners) -> None:
    area = (twin[2] - twin[0]) * (twin[3] - twin[1])
    [junk] = find(having(LARGE, twin))
    assert junk.kind is Kind.NESTED
    assert (junk.index, junk.twin) == ((0, 1) if area > 10_000 else (1, 0))
    assert without(having(LARGE, twin)).ignored == (), "the place is marked by the other"
    assert find(having(LARGE, twin, labels=(0, 1))) == [], "of two labels"


@pytest.mark.parametrize(
    "other",
    [
        (120.0, 120.0, 180.0, 180.0),  # a thing on another of its kind, IoU 0.36
        (110.0, 110.0, 190.0, 190.0),  # IoU 0.64
        (110.0, 100.0, 215.0, 200.0),  # two that overlap, IoU 0.78, each with a part of its own
    ],
)
def test_two_things_of_one_kind_that_overlap_stay(other: Corners) -> None:
    assert find(having(LARGE, other)) == []


def test_three_of_a_kind_are_one_whatever_their_order() -> None:
    boxes = [LARGE, (101.0, 101.0, 199.0, 199.0), (102.0, 102.0, 198.0, 198.0)]
    for turn in range(3):
        turned = boxes[turn:] + boxes[:turn]
        assert without(having(*turned)).xyxy == (LARGE,)


def test_an_image_without_junk_is_itself() -> None:
    whole = having(LARGE)
    assert without(whole) is whole and find(having()) == []


@given(st.lists(st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(20, 60)] * 2), max_size=12), st.booleans())
def test_no_twins_are_left_and_what_is_dropped_has_one(rows: list[tuple[int, ...]], turned: bool) -> None:
    corners = [(float(x), float(y), float(x + w), float(y + h)) for x, y, w, h in rows]
    if turned:
        corners = [(y1, x1, y2, x2) for x1, y1, x2, y2 in corners]
    whole = having(*corners)
    kept = np.float32(without(whole).xyxy).reshape(-1, 4)
    overlap = np.triu(iou_matrix(kept, kept), k=1)
    assert (overlap < 0.9).all()
    for junk in find(whole):
        assert junk.twin is not None and corners[junk.twin] in without(whole).xyxy
        [[iou]] = iou_matrix(np.float32([corners[junk.index]]), np.float32([corners[junk.twin]]))
        assert iou >= 0.699
