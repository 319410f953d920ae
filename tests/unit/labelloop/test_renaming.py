"""Renamed labels: the config's text keeps all else, and what was understood under the old names still is."""

import shlex
from typing import Any

import pytest

from labelloop.label_check import check
from labelloop.labels import LabelMap, parse_label_config
from labelloop.renaming import RenameError, command, read_pairs, rename_in_config, rename_in_results

XML = """<View>
  <!-- <Label value="cat"/> is only a remark -->
  <RectangleLabels name="label" toName="image">
    <Label value="cat" hotkey='1'/>
    <Label value="Kätzchen" alias="kitten"></Label>
    <Label value="dog" predicted_values="dog,wolf"/>
  </RectangleLabels>
  <Image name="image" value="$image"/>
  <Choices name="mood" toName="image" perRegion="true" whenLabelValue="cat,dog">
    <Choice value="cat"/>
  </Choices>
  <RectangleLabels name="other" toName="hint"><Label value="cat"/></RectangleLabels>
  <Image name="hint" value="$hint"/>
</View>"""


def box(*labels: str, control: str = "label") -> dict[str, Any]:
    value = {"x": 1, "y": 2, "width": 3, "height": 4, "rectanglelabels": list(labels)}
    return {"type": "rectanglelabels", "from_name": control, "to_name": "image", "value": value}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cat=feline", {"cat": "feline"}),
        (" big cat = feline ,dog=canine", {"big cat": "feline", "dog": "canine"}),
        (r"a\,b=c\=d,e\\=f", {"a,b": "c=d", "e\\": "f"}),
        ("猫=cat", {"猫": "cat"}),
    ],
)
def test_pairs_are_read(text: str, names: dict[str, str]) -> None:
    assert read_pairs(text) == names


@pytest.mark.parametrize("name", ["cat", "big cat", "a,b=c\\d", "it's", "$HOME", "猫"])
def test_the_command_that_is_told_means_the_label(name: str) -> None:
    typed = command(name, "new", 2)
    assert typed.startswith("make labels RENAME=") and typed.endswith(" PROJECT=2")
    *_, setting, _ = shlex.split(typed)
    assert read_pairs(setting.removeprefix("RENAME=")) == {name: "new"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is no pair"),
        ("cat", "'cat' is no pair"),
        ("cat=", "'cat=' is no pair"),
        ("=feline", "'=feline' is no pair"),
        ("cat=feline,", "'' is no pair"),
        ("cat=a=b", "'cat=a=b' is no pair"),
        ("cat=a,cat=b", "'cat' can't become both 'a' and 'b'"),
        ("cat=dog,dog=cat", "'cat' is both an old name and a new one"),
        ("cat=cat", "'cat' is both an old name and a new one"),
    ],
)
def test_what_is_no_pair_is_named(text: str, words: str) -> None:
    with pytest.raises(RenameError) as refused:
        read_pairs(text)
    assert words in str(refused.value)


def test_a_rename_changes_the_label_and_what_depends_on_it_and_nothing_else() -> None:
    renamed = rename_in_config(XML, {"cat": "feline"})
    assert renamed.xml == XML.replace('<Label value="cat" hotkey', '<Label value="feline" hotkey').replace(
        'whenLabelValue="cat,dog"', 'whenLabelValue="feline,dog"'
    )


def test_an_alias_is_renamed_and_what_is_shown_stays() -> None:
    renamed = rename_in_config(XML, {"kitten": "young"})
    assert '<Label value="Kätzchen" alias="young"></Label>' in renamed.xml
    assert parse_label_config(renamed.xml).names == ["cat", "young", "dog"]


@pytest.mark.parametrize("target", ["feline", "cat"])
def test_several_to_one_are_one_label_in_the_first_ones_place(target: str) -> None:
    names = {"cat": target, "kitten": target, "dog": target}
    names.pop(target, None)
    parsed = parse_label_config(rename_in_config(XML, names, ["cat", "dog"]).xml)
    assert parsed.names == [target]
    starting = LabelMap.build(["cat", "dog", "wolf", "tie"], parsed, trained=False)
    assert starting.to_label == (0, 0, 0, None)


def test_what_the_starting_model_called_by_its_name_it_still_knows() -> None:
    """`cat` was COCO's cat by its name; `dog` names its classes itself."""
    renamed = rename_in_config(XML, {"cat": "feline", "dog": "canine"}, ["person", "Cat", "dog", "wolf"])
    parsed = parse_label_config(renamed.xml)
    assert [label.predicted_values for label in parsed.labels] == [("Cat",), (), ("dog", "wolf")]
    assert LabelMap.build(["Cat", "dog", "wolf"], parsed, trained=False).to_label == (0, 2, 2)


def test_a_label_that_was_renamed_in_label_studio_already_is_there() -> None:
    """After a PATCH of the config, the annotations alone hold the old name."""
    assert rename_in_config(XML, {"puss": "cat"}).xml == XML


def test_what_was_imported_under_a_value_can_get_the_alias() -> None:
    renamed = rename_in_config(XML, {"Kätzchen": "kitten"})
    assert renamed.xml == XML
    assert rename_in_results([box("Kätzchen")], renamed) == [box("kitten")]


def test_a_name_that_no_label_has_or_gets_is_refused() -> None:
    with pytest.raises(RenameError, match="no label is called 'feline' or becomes it; there are 'cat', 'kit"):
        rename_in_config(XML, {"puss": "feline"})


def test_an_ignored_label_is_renamed_where_it_is_listed_too() -> None:
    xml = XML.replace('<RectangleLabels name="label"', '<RectangleLabels name="label" ignore="cat, dog"', 1)
    renamed = rename_in_config(xml, {"cat": "herd"}).xml
    assert 'ignore="herd, dog"' in renamed
    assert parse_label_config(renamed).marks.ignored == ("herd", "dog")


@pytest.mark.parametrize("attribute", ["ignore", "overlap"])
def test_the_lists_of_other_controls_and_what_a_label_itself_says_stay(attribute: str) -> None:
    """`other` draws on another image, with a label of its own; and "no" is no label there."""
    hint, no = f'name="other" toName="hint" {attribute}="cat"', f'value="dog" {attribute}="no"'
    xml = XML.replace('name="other" toName="hint"', hint).replace('value="dog"', no)
    assert rename_in_config(xml, {"cat": "feline", "no": "feline"}).xml == rename_in_config(
        XML, {"cat": "feline"}
    ).xml.replace('name="other" toName="hint"', hint).replace('value="dog"', no)


@pytest.mark.parametrize(
    ("names", "after"),
    [
        ({"cat": "feline"}, 'overlap="feline, Kätzchen"'),
        ({"kitten": "young"}, 'overlap="cat, Kätzchen"'),
        ({"cat": "dog"}, 'overlap="dog, Kätzchen"'),
        ({"cat": "pet", "kitten": "pet", "dog": "pet"}, 'overlap="pet"'),
    ],
)
def test_a_label_that_may_overlap_is_renamed_where_it_is_listed(names: dict[str, str], after: str) -> None:
    xml = XML.replace("<RectangleLabels ", '<RectangleLabels overlap="cat, Kätzchen" ', 1)
    renamed = rename_in_config(xml, names).xml
    assert after in renamed
    before = parse_label_config(xml).marks.overlapping
    assert parse_label_config(renamed).marks.overlapping == {names.get(name, name) for name in before}
    assert [finding.text for finding in check(renamed)] == [finding.text for finding in check(XML)]


def test_a_label_may_overlap_if_one_that_became_it_might() -> None:
    xml = XML.replace('value="dog"', 'value="dog" overlap="true"')
    assert parse_label_config(rename_in_config(xml, {"dog": "cat"}).xml).marks.overlapping == {"cat"}
    labels = '<Label value="big"/><Label value="dog"/>'
    for mark in ('overlap="dog,big"', 'choice="multiple"'):
        xml = XML.replace(
            "</View>", f'<RectangleLabels name="b" toName="image" {mark}>{labels}</RectangleLabels></View>'
        ).replace('value="dog"', 'value="wolf"', 1)
        renamed = rename_in_config(xml, {"dog": "cat"}).xml
        assert parse_label_config(renamed).marks.overlapping == {"cat", "big"}
        assert [finding.text for finding in check(renamed)] == [finding.text for finding in check(XML)]


def test_a_box_says_its_runner_up_by_the_new_name() -> None:
    renamed = rename_in_config(XML, {"cat": "feline", "dog": "kitten"})
    said = [
        {**box(label), "meta": {"text": [text, "hers"]}}
        for label, text in (
            ("kitten", "or cat, 0.41"),
            ("cat", "or kitten, 0.50"),
            ("dog", "or kitten, 0.50"),
        )
    ]
    found = rename_in_results([*said, {**box("kitten"), "meta": {"text": ["or dog, 0.41"]}}], renamed)
    assert found is not None
    assert [region.get("meta") for region in found] == [
        {"text": ["or feline, 0.41", "hers"]},
        {"text": ["or kitten, 0.50", "hers"]},
        {"text": ["or kitten, 0.50", "hers"]},
        None,
    ]
    for meta in (None, "or cat, 0.41", {"text": "or cat, 0.41"}, {"text": [1]}, {"text": ["the cat, 0.41"]}):
        assert rename_in_results([{**box("kitten"), "meta": meta}], renamed) is None


def test_a_label_that_is_learned_and_one_that_is_ignored_become_no_one() -> None:
    xml = XML.replace("hotkey='1'", "ignore='true'")
    with pytest.raises(RenameError, match="'dog' would be both"):
        rename_in_config(xml, {"cat": "dog"})


def test_boxes_are_renamed_and_all_else_stays() -> None:
    renamed = rename_in_config(XML, {"cat": "feline", "kitten": "feline"})
    others = [
        {"type": "choices", "from_name": "mood", "value": {"choices": ["cat"]}},
        {"type": "relation", "from_id": "a", "to_id": "b", "labels": ["cat"]},
        box("cat", control="other"),
        box("dog"),
        {"type": "rectanglelabels", "value": {"rectanglelabels": "cat"}},
        {"type": "rectanglelabels", "from_name": ["label"], "value": None},
        "no region",
    ]
    results = [box("cat"), box(" kitten"), box("Kätzchen"), box("cat", "kitten", "dog"), *others]
    found = rename_in_results(results, renamed)
    assert found is not None
    labels = [result["value"]["rectanglelabels"] for result in found[:4]]
    assert labels == [["feline"], ["feline"], ["feline"], ["feline", "dog"]]
    assert found[4:] == others
    assert found[0] == box("feline")


def test_nothing_to_rename_is_told() -> None:
    renamed = rename_in_config(XML, {"cat": "feline"})
    for results in ([box("dog")], [], None, {"result": []}, [box("cat", control="other")]):
        assert rename_in_results(results, renamed) is None
