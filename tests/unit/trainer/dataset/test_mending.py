from typing import Any

from support.labelled_folder import region
from support.shapes import LABEL_CONFIG

from labelloop.labels import parse_label_config
from trainer.dataset.mending import mend

CONFIG = parse_label_config(LABEL_CONFIG)
SIZE = (400, 200)


def named(identity: str, label: str = "ball", **value: float) -> dict[str, Any]:
    return {**region(rectanglelabels=[label], **value), "id": identity}


GOOD = named("good", x=10, y=10, width=20, height=20)
NESTED = named("nested", x=10.5, y=10.5, width=19, height=19)
SLIVER = named("sliver", x=50, y=10, width=0.3, height=40)
SPECK = named("speck", x=60, y=10, width=0.5, height=1)
LINE = named("line", x=70, y=10, width=0, height=10)
OUTSIDE = named("outside", x=110, y=10, width=10, height=10)


def test_every_kind_of_junk_is_taken_out_and_named() -> None:
    found = mend([NESTED, GOOD, SLIVER, SPECK, LINE, OUTSIDE], CONFIG, SIZE)
    assert found.results == [GOOD]
    assert [words.partition(":")[0] for words in found.taken_out] == [
        "ball, twice",
        "ball, a sliver",
        "ball, a speck",
        "ball, a speck",
        "ball, outside the image",
    ]
    assert found.taken_out[1].endswith("0.3 × 40 % of the image at 50, 10 %")


def test_what_is_no_junk_stays_as_it_is() -> None:
    inside = named("other label", "crate", x=10.5, y=10.5, width=19, height=19)
    half = named("half outside", x=90, y=10, width=20, height=20)
    strange = {**named("strange"), "type": None}
    unknown = named("unknown", "owl", x=0, y=0, width=0.1, height=0.1)
    results = [GOOD, inside, half, strange, unknown, "no region"]
    found = mend(results, CONFIG, SIZE)
    assert found.results == results and found.taken_out == ()
    assert mend([], CONFIG, SIZE).results == []


def test_a_region_of_two_labels_stays_while_one_of_its_boxes_counts() -> None:
    both = {**region(x=10.5, y=10.5, width=19, height=19, rectanglelabels=["ball", "crate"]), "id": "both"}
    assert mend([GOOD, both], CONFIG, SIZE).taken_out == ()


def test_what_hangs_on_a_region_goes_with_it_and_nothing_else() -> None:
    about = {"id": "speck", "from_name": "sure", "type": "choices", "value": {"choices": ["yes"]}}
    other = {**about, "id": "good"}
    relation = {"type": "relation", "from_id": "good", "to_id": "speck", "direction": "right"}
    of_image = {"id": "x", "from_name": "light", "type": "choices", "value": {"choices": ["dark"]}}
    found = mend([GOOD, about, other, relation, of_image, SPECK], CONFIG, SIZE)
    assert found.results == [GOOD, other, of_image]


def test_mending_twice_changes_nothing() -> None:
    once = mend([NESTED, GOOD, SLIVER], CONFIG, SIZE)
    assert mend(once.results, CONFIG, SIZE).taken_out == ()
