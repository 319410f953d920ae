from typing import Any

from provisioner.label_config import orphans

XML = """<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image">
    <Label value="cat"/><Label value="Dog" alias="dog"/>
  </RectangleLabels>
  <Choices name="quality" toName="image"><Choice value="good"/></Choices>
  <TextArea name="note" toName="image"/>
</View>"""


def region(kind: str, values: list[str], control: str) -> dict[str, Any]:
    return {"from_name": control, "to_name": "image", "type": kind, "value": {kind: values}}


def box(label: str, control: str = "label") -> dict[str, Any]:
    return region("rectanglelabels", [label], control)


def task(*annotations: list[dict[str, Any]], skipped: bool = False) -> dict[str, Any]:
    return {"annotations": [{"result": result, "was_cancelled": skipped} for result in annotations]}


def test_annotations_with_labels_of_the_config_are_no_orphans() -> None:
    note = {"from_name": "note", "to_name": "image", "type": "textarea", "value": {"text": ["whatever"]}}
    relation = {"type": "relation", "from_id": "a", "to_id": "b"}
    fine = [box("cat"), box("dog"), region("choices", ["good"], "quality"), note, relation]
    assert orphans([task(fine, []), task()], XML) == []


def test_each_lost_label_is_counted_once_an_annotation() -> None:
    tasks = [task([box("bird"), box("bird"), box("cat")], [box("bird")]), task([box("emu")])]
    assert orphans(tasks, XML) == ["label 'bird' in 2 annotations", "label 'emu' in 1 annotation"]


def test_a_lost_control_and_a_lost_choice_are_named() -> None:
    tasks = [task([box("cat", "boxes"), region("choices", ["bad"], "quality")])]
    assert orphans(tasks, XML) == ["control 'boxes' in 1 annotation", "label 'bad' in 1 annotation"]


def test_a_label_with_an_alias_may_be_stored_as_either() -> None:
    """Label Studio stores the alias, and shows the label too for what was imported under its value."""
    assert orphans([task([box("Dog"), box("dog")])], XML) == []


def test_values_that_come_from_the_task_are_not_missed() -> None:
    xml = XML.replace('name="quality" toName', 'name="quality" value="$choices" toName')
    assert orphans([task([region("choices", ["bad"], "quality")])], xml) == []


def test_skipped_annotations_hold_nothing_back() -> None:
    assert orphans([task([box("bird")], skipped=True)], XML) == []
