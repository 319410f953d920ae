"""Label configs that are damaged, huge, hostile or merely unusual."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelloop.label_check import check
from labelloop.labels import MAX_CHARACTERS, LabelConfigError, LabelMap, parse_label_config

CONFIG = """<View><Image name="image" value="$photo"/>
<RectangleLabels name="label" toName="image"><Label value="a"/><Label value="b" predicted_values="cat,dog"/>
</RectangleLabels></View>"""
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


def config(labels: str) -> str:
    return f"""<View><Image name="image" value="$image"/>
      <RectangleLabels name="label" toName="image">{labels}</RectangleLabels></View>"""


def parsed_or_refused(xml: str) -> None:
    try:
        parse_label_config(xml)
    except LabelConfigError as error:
        assert 0 < len(str(error)) < 500
        assert any(finding.fault for finding in check(xml)), "`make labels` lets it pass"


@given(xml=st.text(max_size=80), cut=st.integers(0, len(CONFIG)), dropped=st.integers(0, 20))
def test_a_damaged_config_is_read_or_refused(xml: str, cut: int, dropped: int) -> None:
    parsed_or_refused(xml)
    parsed_or_refused(CONFIG[:cut] + xml + CONFIG[cut + dropped :])


@given(names=st.lists(WORDS.filter(str.strip), min_size=1, max_size=8, unique_by=str.strip))
def test_labels_of_any_script_come_back_as_they_were_written(names: list[str]) -> None:
    from xml.sax.saxutils import quoteattr

    parsed = parse_label_config(config("".join(f"<Label value={quoteattr(name)}/>" for name in names)))
    assert parsed.names == names
    assert LabelMap.build(names, parsed, trained=True).to_label == tuple(range(len(names)))


@pytest.mark.parametrize(
    "xml",
    [
        '<!DOCTYPE v [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;">]>' + config('<Label value="&b;"/>'),
        '<!DOCTYPE v [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + config('<Label value="&a;"/>'),
        '<!DOCTYPE v SYSTEM "http://127.0.0.1/x.dtd">' + config('<Label value="a"/>'),
        config('<Label value="&undeclared;"/>'),
        config('<Label value="\ud800"/>'),
        config('<Label value="\0"/>'),
        config('<Label value=" "/>'),
        config('<Label value="a"/><Label value=" a"/>'),
        "",
    ],
)
def test_hostile_configs_are_refused(xml: str) -> None:
    with pytest.raises(LabelConfigError):
        parse_label_config(xml)


def test_a_config_of_ten_megabytes_is_refused_at_once() -> None:
    xml = config("".join(f'<Label value="label {number}"/>' for number in range(400_000)))
    began = time.process_time()
    with pytest.raises(LabelConfigError, match=f"{len(xml):,} characters"):
        parse_label_config(xml)
    assert time.process_time() - began < 1


def test_the_largest_config_that_is_read_is_read_in_seconds() -> None:
    labels = "".join(f'<Label value="{number}"/>' for number in range(40_000))
    began = time.process_time()
    assert len(parse_label_config(config(labels)).labels) == 40_000
    deep = "<View>" * 70_000 + "</View>" * 70_000
    assert len(deep) < MAX_CHARACTERS
    with pytest.raises(LabelConfigError, match="no <RectangleLabels>"):
        parse_label_config(deep)
    assert time.process_time() - began < 5


def test_five_hundred_labels_are_read() -> None:
    names = [f"Teil {number}" for number in range(500)]
    parsed = parse_label_config(config("".join(f'<Label value="{name}"/>' for name in names)))
    assert LabelMap.build(names, parsed, trained=True).to_label == tuple(range(500))


def test_of_two_controls_and_several_images_the_first_control_and_its_image_count() -> None:
    xml = """<View><Image name="left" value="$l"/><Image name="right" value="$r"/>
    <RectangleLabels name="first" toName="right"><Label value="a"/></RectangleLabels>
    <RectangleLabels name="second" toName="left"><Label value="b"/></RectangleLabels></View>"""
    parsed = parse_label_config(xml)
    assert (parsed.control, parsed.to_name, parsed.data_key, parsed.names) == ("first", "right", "r", ["a"])


def test_labels_that_differ_in_case_alone_stay_apart() -> None:
    parsed = parse_label_config(config('<Label value="Cat"/><Label value="cat"/>'))
    assert LabelMap.build(["Cat", "cat"], parsed, trained=True).to_label == (0, 1)
