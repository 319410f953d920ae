"""`ignore`, `overlap` and `exclude` in a label config, and what `make labels` says of them."""

import pytest

from labelloop.label_check import check
from labelloop.labels import LabelConfigError, parse_label_config

XML = """<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image"{control}>
    <Label value="cat"/>
    <Label value="crowd" alias="many"{label}/>
  </RectangleLabels>
  <Choices name="quality" toName="image"{choices}>
    <Choice value="Unusable"{choice}/>
    <Choice value="Blurred, dark" alias="dark"/>
  </Choices>
</View>"""


def config(control: str = "", label: str = "", choices: str = "", choice: str = "") -> str:
    return XML.format(control=control, label=label, choices=choices, choice=choice)


@pytest.mark.parametrize(
    "xml",
    [
        config(label=' ignore="true"'),
        config(label=' ignore="1"'),
        config(control=' ignore="crowd"'),
        config(control=' ignore=" many , "'),
    ],
)
def test_an_ignored_label_is_none_that_is_learned(xml: str) -> None:
    parsed = parse_label_config(xml)
    assert (parsed.names, parsed.marks.ignored) == (["cat"], ("many",))
    assert check(xml) == []


POINTS = '<KeyPointLabels name="point" toName="image"{}><Label value="{}"/></KeyPointLabels></View>'


@pytest.mark.parametrize(
    ("control", "points", "clicks"),
    [
        ("", "", True),
        (' smart="true"', "", True),
        (' smart="false"', "", False),
        (' smart="False"', POINTS.format(' smart="true"', "cat"), True),
        (' smart="false"', POINTS.format(' smartOnly="true"', "cat"), True),
        (' smart="false"', POINTS.format(' smart="true"', "dog"), False),
        (' smart="false"', POINTS.format("", "cat"), False),
    ],
)
def test_whether_a_click_fetches_a_box(control: str, points: str, clicks: bool) -> None:
    xml = config(control=control)
    xml = xml.replace("</View>", points) if points else xml
    assert parse_label_config(xml).marks.clicks is clicks


@pytest.mark.parametrize("xml", [config(), config(label=' ignore="false"'), config(label=' ignore=""')])
def test_a_label_that_is_not_ignored_is_learned(xml: str) -> None:
    assert parse_label_config(xml).names == ["cat", "many"]


@pytest.mark.parametrize(
    ("xml", "overlapping"),
    [
        (config(label=' overlap="true"'), {"many"}),
        (config(control=' overlap="crowd"'), {"many"}),
        (config(control=' overlap="many, cat"'), {"many", "cat"}),
        (config(control=' choice="multiple"'), {"many", "cat"}),
        (config(control=' choice="single"', label=' overlap="no"'), set()),
    ],
)
def test_labels_that_may_lie_on_one_object(xml: str, overlapping: set[str]) -> None:
    assert parse_label_config(xml).marks.overlapping == overlapping
    assert check(xml) == []


@pytest.mark.parametrize(
    ("xml", "excluding"),
    [
        (config(choice=' exclude="true"'), {"Unusable"}),
        (config(choices=' exclude="Unusable,dark"'), {"Unusable", "dark"}),
        (config(choices=' exclude="dark"', choice=' exclude="yes"'), {"Unusable", "dark"}),
        (config(choice=' exclude="no"'), set()),
    ],
)
def test_excluding_choices_are_known_by_what_annotations_have(xml: str, excluding: set[str]) -> None:
    assert parse_label_config(xml).marks.excluding.get("quality", set()) == excluding
    assert check(xml) == []


@pytest.mark.parametrize(
    ("xml", "line", "words"),
    [
        (
            config(control=' ignore="crowds"'),
            3,
            "ignore=\"crowds\": no <Label> has that value; there are 'cat', 'many'",
        ),
        (config(control=' overlap="king"'), 3, 'overlap="king": no <Label> has that value'),
        (config(choices=' exclude="unusable"'), 7, 'exclude="unusable": no <Choice> has that value'),
    ],
)
def test_a_name_that_names_nothing_is_warned_of(xml: str, line: int, words: str) -> None:
    [finding] = check(xml)
    assert (finding.line, finding.fault) == (line, False) and words in finding.text
    assert parse_label_config(xml).names == ["cat", "many"]


def test_a_config_that_ignores_every_label_is_refused_with_its_line() -> None:
    xml = config(control=' ignore="cat,crowd"')
    with pytest.raises(LabelConfigError, match=r"line 3: every label is ignored"):
        parse_label_config(xml)
    assert [(finding.line, finding.fault) for finding in check(xml)] == [(3, True)]


def test_choices_that_come_with_the_task_are_excluded_by_name() -> None:
    xml = config(choices=' value="$choices" exclude="bad"')
    assert parse_label_config(xml).marks.excluding["quality"] == {"bad"}
    assert check(xml) == []
