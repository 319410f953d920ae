"""One object, one box: which boxes are proposed, and what the labels say of that."""

import time
from collections.abc import Sequence

import numpy as np
import pytest

from labelloop.boxes import Boxes
from labelloop.card import Card, Overlaps
from labelloop.labels import LabelConfig, parse_label_config
from labelloop.runner_up import noted
from labelloop.tidying import Rules, Untidy, learned, tidied

ACE, KING = 0, 1
CARD = [100, 100, 200, 240]
ALMOST = [102, 100, 200, 240]  # IoU 0.98
BESIDE = [150, 100, 250, 240]  # IoU 0.33
Row = tuple[Sequence[float], float, int]


def config(ace: str = "", control: str = "") -> LabelConfig:
    return parse_label_config(
        f'<View><Image name="i" value="$image"/><RectangleLabels name="l" toName="i"{control}>'
        f'<Label value="ace"{ace}/><Label value="king"/></RectangleLabels></View>'
    )


def boxes(*rows: Row) -> Boxes:
    return Boxes.of([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows])


def why(*rows: Row, card: Card | None = None, labels: LabelConfig | None = None) -> dict[int, Untidy]:
    tidy = tidied(boxes(*rows), Rules.of(card, labels or config()))
    assert [index for index, kept in enumerate(tidy.kept) if not kept] == sorted(tidy.why)
    return dict(tidy.why)


def with_overlaps(**overlaps: object) -> Card:
    return Card(detector="any", classes=["ace", "king"], overlaps=Overlaps.model_validate(overlaps))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(CARD, 0.4, ACE), (ALMOST, 0.6, KING)], {0: Untidy.SECOND_LABEL}),
        ([(CARD, 0.6, ACE), (BESIDE, 0.5, KING)], {}),
        ([(CARD, 0.6, ACE), ([100, 100, 200, 180], 0.5, KING)], {}),  # a part of it, IoU 0.57
        ([(CARD, 0.6, ACE), ([120, 110, 215, 245], 0.5, ACE)], {1: Untidy.SECOND_BOX}),  # IoU 0.60
        ([(CARD, 0.6, ACE), ([140, 100, 240, 240], 0.5, ACE)], {}),  # 0.43: a neighbour
        ([(CARD, 0.6, ACE), ([110, 120, 190, 200], 0.5, ACE)], {1: Untidy.NESTED}),  # 0.46, all inside
        ([([110, 120, 190, 200], 0.6, ACE), (CARD, 0.5, ACE)], {1: Untidy.NESTED}),  # the larger goes, too
        ([(CARD, 0.6, ACE), ([110, 120, 140, 160], 0.5, ACE)], {}),  # 0.09: a small one before it
        ([(CARD, 0.6, ACE), ([10, 10, 50, 11.5], 0.9, ACE)], {1: Untidy.SLIVER}),
        ([(CARD, 0.6, ACE), ([10, 10, 12.5, 12.5], 0.9, KING)], {1: Untidy.SPECK}),
        ([(CARD, 0.5, ACE), (CARD, 0.5, KING)], {1: Untidy.SECOND_LABEL}),  # of equal scores the first
        ([], {}),
    ],
)
def test_an_object_has_one_box(rows: list[Row], expected: dict[int, Untidy]) -> None:
    assert why(*rows) == expected


def test_a_box_that_goes_hides_no_other() -> None:
    """Three in a row, each over the limit with the next: the first and the last are two objects."""
    row = [([0, 0, 100, 40], 0.9, ACE), ([30, 0, 130, 40], 0.8, ACE), ([60, 0, 160, 40], 0.7, ACE)]
    assert why(*row) == {1: Untidy.SECOND_BOX}


@pytest.mark.parametrize(
    "labels",
    [
        config(ace=' overlap="true"'),
        config(control=' overlap="king"'),
        config(control=' choice="multiple"'),
    ],
)
def test_labels_that_may_overlap_by_the_config_both_stay(labels: LabelConfig) -> None:
    assert why((CARD, 0.6, ACE), (ALMOST, 0.5, KING), labels=labels) == {}
    assert why((CARD, 0.6, ACE), (ALMOST, 0.5, ACE), labels=labels) == {1: Untidy.SECOND_BOX}


def test_what_the_card_says_of_the_labels_counts() -> None:
    near: Row = ([120, 110, 215, 245], 0.5, ACE)  # IoU 0.60
    crowded = with_overlaps(iou={"ace": 0.65, "king": 0.5}, inside={"ace": 0.85, "king": 0.85})
    assert why((CARD, 0.6, ACE), near, card=crowded) == {}
    assert why((CARD, 0.6, KING), (near[0], 0.5, KING), card=crowded) == {1: Untidy.SECOND_BOX}
    assert why((CARD, 0.6, ACE), (ALMOST, 0.5, KING), card=with_overlaps(across=[("king", "ace")])) == {}
    old = Card.model_validate_json('{"detector": "any", "classes": ["ace", "king"], "score_thresholds": {}}')
    assert old.overlaps is None
    assert why((CARD, 0.6, ACE), near, card=old) == {1: Untidy.SECOND_BOX}


def test_thousands_of_labels_and_boxes_take_no_time() -> None:
    """The rules are made for each request, and each image can have 2,000 boxes."""
    names = "".join(f'<Label value="{number}"/>' for number in range(2000))
    many = parse_label_config(
        '<View><Image name="i" value="$image"/><RectangleLabels name="l" toName="i">'
        f"{names}</RectangleLabels></View>"
    )
    rng = np.random.default_rng(0)
    corners, sides = rng.uniform(0, 600, (2000, 2)), rng.uniform(5, 60, (2000, 2))
    found = Boxes.of(np.hstack([corners, corners + sides]), rng.uniform(0, 1, 2000), range(2000))
    began = time.process_time()
    rules = Rules.of(with_overlaps(across=[("3", "4")]), many)
    assert tidied(found, rules).kept.sum() > 1000
    assert time.process_time() - began < 1


def test_a_close_runner_up_is_named_in_the_regions_meta() -> None:
    found = boxes((CARD, 0.6, ACE), (ALMOST, 0.41, KING), (ALMOST, 0.3, KING), ([300, 0, 400, 90], 0.9, KING))
    tidy = tidied(found, Rules.of(None, config()))
    assert tidy.kept.tolist() == [True, False, False, True]
    assert tidy.notes(found, ["ace", "king"]) == ["or king, 0.41", "", "", ""]
    marked = list(noted([{"id": "a"}, {"id": "b"}], ["or king, 0.41", ""]))
    assert marked == [{"id": "a", "meta": {"text": ["or king, 0.41"]}}, {"id": "b"}]
    faint = boxes((CARD, 0.9, ACE), (ALMOST, 0.41, KING))
    assert tidied(faint, Rules.of(None, config())).notes(faint, ["ace", "king"]) == ["", ""]


def test_only_boxes_that_would_have_been_shown_are_counted() -> None:
    found = boxes((CARD, 0.6, ACE), (ALMOST, 0.41, KING), (ALMOST, 0.1, ACE), ([0, 0, 2, 2], 0.5, ACE))
    thresholds = Card(detector="", classes=[], score_thresholds={"king": 0.5}).thresholds(
        ["ace", "king"], 0.3
    )
    assert tidied(found, Rules.of(None, config())).counts(found, thresholds) == {"speck": 1}
    assert tidied(found, Rules.of(None, config())).counts(found, thresholds - 0.25) == {
        "second label": 1,
        "second box": 1,
        "speck": 1,
    }


def pairs(count: int, shift: float) -> list[tuple[list[list[float]], list[int]]]:
    """Images with two boxes of ace each, 100 wide and `shift` apart."""
    return [([[0, 0, 100, 100], [shift, 0, 100 + shift, 100]], [ACE, ACE])] * count


def alone(count: int) -> list[tuple[list[list[float]], list[int]]]:
    return [([[0, 0, 100, 100]], [ACE])] * count


def test_a_few_labels_cannot_set_the_limits() -> None:
    none = learned([], ["ace", "king"])
    assert none.iou == {"ace": 0.5, "king": 0.5} and none.inside == {"ace": 0.85, "king": 0.85}
    assert learned(pairs(2, 20), ["ace", "king"]).iou["ace"] == 0.5  # 4 boxes: 2 pairs may be lost
    assert learned([*pairs(3, 20), *alone(300)], ["ace", "king"]).iou["ace"] == 0.5


def test_cells_that_crowd_keep_their_neighbours() -> None:
    crowded = learned([*pairs(40, 25), *alone(40)], ["ace", "king"])
    assert crowded.iou == {"ace": 0.6, "king": 0.5}  # 75 of 125 shared
    card = Card(detector="", classes=["ace", "king"], overlaps=crowded)
    neighbours: list[Row] = [([0, 0, 100, 100], 0.9, ACE), ([25, 0, 125, 100], 0.8, ACE)]
    assert why(*neighbours, card=card) == {} and why(*neighbours) == {1: Untidy.SECOND_BOX}
    assert learned(pairs(90, 2), ["ace", "king"]).iou["ace"] == 0.9, "bounded"


def test_labels_that_are_drawn_on_each_other_may_overlap() -> None:
    both = [([[0, 0, 100, 100], [1, 0, 101, 100]], [KING, ACE])]
    assert learned(both * 2, ["ace", "king"]).across == []
    assert learned(both * 3, ["ace", "king"]).across == [("ace", "king")]
    assert learned([*both * 3, *alone(900)], ["ace", "king"]).across, "the rarer one's boxes decide"
    apart = [([[0, 0, 100, 100], [40, 0, 140, 100]], [KING, ACE])]
    assert learned(apart * 30, ["ace", "king"]).across == []


def test_nested_ones_of_a_label_stay_when_the_labels_have_them() -> None:
    nested: list[list[float]] = [[0, 0, 100, 100], [10, 10, 80, 80]]
    learnt = learned([(nested, [ACE, ACE])] * 30, ["ace", "king"])
    assert learnt.inside == {"ace": 1.0, "king": 0.85} and learnt.iou["ace"] == 0.5
    rows: list[Row] = [(nested[0], 0.9, ACE), (nested[1], 0.8, ACE)]
    assert why(*rows, card=Card(detector="", classes=[], overlaps=learnt)) == {}
    assert why(*rows) == {1: Untidy.NESTED}
