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


def test_controls_on_one_image_are_one_list_of_labels() -> None:
    second = '<RectangleLabels name="second" toName="image"><Label value="x"/></RectangleLabels>'
    xml = config('<Label value="a"/>').replace("</View>", second + "</View>")
    parsed = parse_label_config(xml)
    assert (parsed.control, parsed.controls, parsed.names) == ("label", ("label", "second"), ["a", "x"])


def with_image(image: str) -> str:
    return config('<Label value="a"/>').replace('value="$photo"', image)


@pytest.mark.parametrize(
    ("image", "data", "url"),
    [
        ('value="$photo"', {"photo": "a.jpg"}, "a.jpg"),
        ('value="$meta.photo"', {"meta": {"photo": "a.jpg"}}, "a.jpg"),
        ('value="$meta.photo"', {"meta.photo": "a.jpg"}, "a.jpg"),
        ('value="$images[0]"', {"images": ["a.jpg", "b.jpg"]}, "a.jpg"),
        ('value="$pages[1].url"', {"pages": [{"url": "a.jpg"}, {"url": "b.jpg"}]}, "b.jpg"),
        (
            'value="https://example.org/$set/$file"',
            {"set": 7, "file": "a.jpg"},
            "https://example.org/7/a.jpg",
        ),
        ('value="$photo"', {"image": "a.jpg"}, None),
        ('value="$meta.photo"', {"meta": "a.jpg"}, None),
        ('value="$images[2]"', {"images": ["a.jpg"]}, None),
        ('value="https://example.org/$file"', {"photo": "a.jpg"}, None),
        ('value="$photo"', ["a.jpg"], None),
    ],
)
def test_the_image_is_found_as_the_editor_finds_it(image: str, data: object, url: str | None) -> None:
    assert parse_label_config(with_image(image)).image_of(data) == url


def test_whatever_stands_before_the_image_its_own_key_counts() -> None:
    xml = config('<Label value="a"/>').replace("<View>", '<View><Text name="caption" value="$caption"/>')
    assert parse_label_config(xml).data_key == "photo"


@pytest.mark.parametrize(
    "image", ['valueList="$photos"', 'value="photo"', 'value="photo" valueList="$photos"']
)
def test_an_image_that_cannot_be_read_is_refused(image: str) -> None:
    with pytest.raises(LabelConfigError, match=r'write value="\$image"|names no key of a task'):
        parse_label_config(with_image(image))


ALIASES = '<Label value="Katze" alias="cat"/><Label value="dog" alias="Hund"/><Label value="fox"/>'


def test_a_label_is_what_annotations_hold_and_answers_to_both_its_names() -> None:
    parsed = parse_label_config(config(ALIASES))
    assert parsed.names == ["cat", "Hund", "fox"]
    assert parsed.by_spelling() == {"cat": 0, "Katze": 0, "Hund": 1, "dog": 1, "fox": 2}


def test_what_is_kept_by_label_is_found_under_the_name_of_then() -> None:
    """Thresholds were written before `dog` got its alias."""
    parsed = parse_label_config(config(ALIASES))
    assert parsed.names_in({"dog": 0.3, "cat": 0.4}) == ["cat", "dog", "fox"]
    assert parsed.names_in({}) == parsed.names


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize(
    ("classes", "to_label"),
    [
        (["cat", "dog", "fox"], (0, 1, 2)),
        (["Katze", "Hund"], (0, 1)),
        (["CAT", "Dog", "tie"], (0, 1, None)),
        (["katze", "cat"], (0, 0)),
    ],
)
def test_classes_map_by_alias_and_by_value(
    classes: list[str], to_label: tuple[int | None, ...], trained: bool
) -> None:
    """A trained version's classes are what annotations held when the label had no alias yet."""
    assert LabelMap.build(classes, parse_label_config(config(ALIASES)), trained=trained).to_label == to_label


def test_an_alias_that_is_the_value_in_another_case_is_one_label() -> None:
    parsed = parse_label_config(config('<Label value="Cat" alias="cat"/>'))
    assert LabelMap.build(["CAT"], parsed, trained=False).to_label == (0,)


def test_a_plain_config_reads_as_in_earlier_releases() -> None:
    """The trainer keeps a digest of it: another one would have all predictions made anew."""
    parsed = parse_label_config(config('<Label value="fox" predicted_values="dog, cat"/>'))
    assert repr(parsed) == (
        "LabelConfig(control='label', to_name='image', data_key='photo', "
        "labels=(Label(value='fox', predicted_values=('dog', 'cat')),))"
    )


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
    label_map = LabelMap.build(["car", "cat", "dog", "tie"], parsed, trained=False)
    assert label_map.to_label == (0, 1, 1, None)
    assert label_map.unmapped_classes == ("tie",)
    assert label_map.unmatched_labels == ("dog", "ufo")
    assert label_map.knows_any


WORKER = '<Label value="worker" predicted_values="person"/><Label value="person"/>'


@pytest.mark.parametrize(
    ("labels", "to_label"),
    [
        (WORKER, (0, 1)),
        ('<Label value="person"/><Label value="worker" predicted_values="person"/>', (1, 0)),
        (WORKER + '<Label value="crane"/>', (0, 1)),
        ('<Label value="worker" predicted_values="person"/>', (0, None)),
        ('<Label value="staff" predicted_values="worker"/><Label value="Person"/>', (None, 1)),
    ],
    ids=["same", "reordered", "one added", "one removed", "one renamed, one in another case"],
)
def test_a_version_trained_here_keeps_its_labels_whatever_becomes_of_the_others(
    labels: str, to_label: tuple[int | None, ...]
) -> None:
    """`predicted_values` speak of the starting model's classes, not of labels that were trained."""
    found = LabelMap.build(["worker", "person"], parse_label_config(config(labels)), trained=True)
    assert found.to_label == to_label


def test_a_starting_model_goes_by_predicted_values_even_where_its_classes_are_the_labels() -> None:
    assert LabelMap.build(["person"], parse_label_config(config(WORKER)), trained=False).to_label == (0,)
    both = LabelMap.build(["worker", "person"], parse_label_config(config(WORKER)), trained=False)
    assert both.to_label == (0, 0)


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize(
    ("classes", "labels", "to_label"),
    [
        (["Cat", "cat"], ["cat", "Cat"], (1, 0)),
        (["Cat", "cat"], ["Cat", "dog"], (0, None)),
        (["cat"], ["Cat", "CAT"], (None,)),
        (["cat"], ["Cat", "cat"], (1,)),
        (["Straße"], ["STRASSE"], (0,)),
    ],
)
def test_names_that_differ_in_case_alone_are_not_taken_for_each_other(
    classes: list[str], labels: list[str], to_label: tuple[int | None, ...], trained: bool
) -> None:
    parsed = parse_label_config(config("".join(f'<Label value="{name}"/>' for name in labels)))
    assert LabelMap.build(classes, parsed, trained=trained).to_label == to_label


def test_classes_that_share_a_label_compete_and_unmapped_boxes_go() -> None:
    parsed = parse_label_config(config('<Label value="raccoon" predicted_values="cat,dog"/>'))
    label_map = LabelMap.build(["cat", "dog", "tie"], parsed, trained=False)
    seen = Boxes.of(
        [[0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 10, 10]],
        [0.5, 0.8, 0.4, 0.99],
        [0, 1, 0, 2],
    )
    mapped = label_map.apply(seen)
    assert mapped.labels.tolist() == [0, 0]
    assert mapped.scores.tolist() == pytest.approx([0.8, 0.4])


def test_a_model_that_knows_none_of_the_labels_says_so() -> None:
    label_map = LabelMap.build(["car"], parse_label_config(config('<Label value="face"/>')), trained=False)
    assert not label_map.knows_any
    assert len(label_map.apply(Boxes.of([[0, 0, 9, 9]], [1.0], [0]))) == 0
