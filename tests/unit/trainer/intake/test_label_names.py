"""A dataset's label becomes the project's by name, alias or a map."""

import pytest

from labelloop.labels import parse_label_config
from trainer.intake.drafts import Drafting
from trainer.intake.label_names import LabelNames, parse_map
from trainer.intake.records import IntakeError, Labels, Record, Shape

XML = """<View><Image name="image" value="$image"/><Choices name="light" toName="image"/>
<RectangleLabels name="label" toName="image">
  <Label value="Katze" alias="cat"/><Label value="Dog"/><Label value="dog"/>
</RectangleLabels></View>"""


def names(**given: str) -> LabelNames:
    return LabelNames(XML, parse_label_config(XML), given)


def test_names_and_aliases_count_whatever_their_case() -> None:
    found = names()
    assert [found.find(name) for name in ("katze", " CAT ", "cat")] == ["cat"] * 3
    assert [found.find(name) for name in ("Dog", "dog")] == ["Dog", "dog"]


def test_what_is_unknown_is_counted_with_the_line_to_paste() -> None:
    found = names()
    assert [found.find('owl "<co>"') for _ in range(2)] == [None, None]
    assert found.unknown == {'owl "<co>"': 2}
    assert "  <Label value='owl \"&lt;co&gt;\"'/>" in found.advice()


def test_a_map_gives_labels_their_name_here_or_leaves_them_out() -> None:
    found = names(owl="KATZE", junk="")
    assert found.find("OWL") == "cat" and found.find("junk") is None
    assert found.left_out == {"junk": 1} and not found.unknown


def test_a_map_to_a_label_that_is_not_there_is_refused() -> None:
    with pytest.raises(IntakeError, match="the project has no label 'bird'; it has"):
        names(owl="bird")
    with pytest.raises(IntakeError, match="MAP=owl: 'owl' is not theirs=ours"):
        parse_map("owl")


def test_controls_are_known_by_name_and_type() -> None:
    found = names()
    assert found.has_control("light", "choices")
    assert not found.has_control("light", "textarea") and not found.has_control("dark", "choices")


def test_the_labels_of_every_control_on_the_image_are_the_projects() -> None:
    more = '<RectangleLabels name="more" toName="image"><Label value="owl"/></RectangleLabels></View>'
    xml = XML.replace("</View>", more)
    config = parse_label_config(xml)
    found = LabelNames(xml, config, {})
    assert (found.find("OWL"), found.find("Katze")) == ("owl", "cat") and not found.unknown
    shapes = tuple(Shape(name, (1.0, 2.0, 11.0, 12.0)) for name in ("owl", "cat"))
    draft = Drafting(1, config, found, {}, False).draft(
        Record("a.png", "a.json", labels=(Labels(shapes),)), (40, 20), "a"
    )
    drawn = [(row["from_name"], row["value"]["rectanglelabels"]) for row in draft.annotations[0]["result"]]
    assert drawn == [("more", ["owl"]), ("label", ["cat"])]
