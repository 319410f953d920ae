import pytest

from labelloop.boxes import Boxes
from labelloop.labels import LabelConfigError, LabelMap, parse_label_config


def config(labels: str, extra: str = "") -> str:
    return f"""<View><Image name="image" value="$photo"/>{extra}
      <RectangleLabels name="label" toName="image">{labels}</RectangleLabels></View>"""


def test_reads_the_control_the_data_key_and_the_labels() -> None:
    parsed = parse_label_config(
        config('<Label value="raccoon" predicted_values="cat, dog,"/><Label value="Füchse"/>')
    )
    assert (parsed.control, parsed.to_name, parsed.data_key) == ("label", "image", "photo")
    assert parsed.names == ["raccoon", "Füchse"]
    assert parsed.labels[0].predicted_values == ("cat", "dog")


def test_the_first_rectangle_control_wins() -> None:
    second = '<RectangleLabels name="second" toName="image"><Label value="x"/></RectangleLabels>'
    xml = config('<Label value="a"/>').replace("</View>", second + "</View>")
    assert parse_label_config(xml).control == "label"


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ("<View>", "not well-formed"),
        ("<View/>", "no <RectangleLabels>"),
        (config(""), "no <Label"),
        (config("<Label/>"), "has no value"),
        (config('<Label value="a"/><Label value="a"/>'), "label 'a' stands in line 2 already"),
        (config('<Label value="a"/>').replace('toName="image"', 'toName="img"'), "names no <Image"),
        ('<!DOCTYPE x [<!ENTITY a "b">]>' + config('<Label value="&a;"/>'), "entity"),
    ],
)
def test_a_config_without_boxes_is_refused_with_the_reason(xml: str, words: str) -> None:
    with pytest.raises(LabelConfigError, match=words):
        parse_label_config(xml)


def test_classes_map_by_predicted_values_first_then_by_name_without_regard_to_case() -> None:
    parsed = parse_label_config(
        config(
            '<Label value="Car"/><Label value="pet" predicted_values="DOG,cat"/>'
            '<Label value="dog"/><Label value="ufo"/>'
        )
    )
    label_map = LabelMap.build(["car", "cat", "dog", "tie"], parsed)
    assert label_map.to_label == (0, 1, 1, None)
    assert label_map.unmapped_classes == ("tie",)
    assert label_map.unmatched_labels == ("dog", "ufo")
    assert label_map.knows_any


def test_a_model_trained_on_the_labels_keeps_them_apart() -> None:
    parsed = parse_label_config(config('<Label value="pet" predicted_values="cat,dog"/><Label value="dog"/>'))
    assert LabelMap.build(["pet", "dog"], parsed).to_label == (0, 1)
    assert LabelMap.build(["cat", "dog"], parsed).to_label == (0, 0)


def test_classes_that_share_a_label_compete_and_unmapped_boxes_go() -> None:
    parsed = parse_label_config(config('<Label value="raccoon" predicted_values="cat,dog"/>'))
    label_map = LabelMap.build(["cat", "dog", "tie"], parsed)
    seen = Boxes.of(
        [[0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 10, 10]],
        [0.5, 0.8, 0.4, 0.99],
        [0, 1, 0, 2],
    )
    mapped = label_map.apply(seen)
    assert mapped.labels.tolist() == [0, 0]
    assert mapped.scores.tolist() == pytest.approx([0.8, 0.4])


def test_a_model_that_knows_none_of_the_labels_says_so() -> None:
    label_map = LabelMap.build(["car"], parse_label_config(config('<Label value="face"/>')))
    assert not label_map.knows_any
    assert len(label_map.apply(Boxes.of([[0, 0, 9, 9]], [1.0], [0]))) == 0
