"""What `make labels` says of a label config, and that it asks for nothing but Python itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from labelloop import vocabulary
from labelloop.label_check import check
from labelloop.labels import LabelConfigError, parse_label_config

REPO = Path(__file__).parents[3]
SHIPPED = sorted((REPO / "configs" / "labels").glob("*.xml"))


def config(labels: str, *, control: str = 'name="label" toName="image"', image: str = '"$image"') -> str:
    """The labels begin in line 3."""
    return (
        f"<View>\n<RectangleLabels {control}>\n{labels}\n</RectangleLabels>\n"
        f'<Image name="image" value={image}/>\n</View>'
    )


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_shipped_label_configs_have_neither_fault_nor_surprise(path: Path) -> None:
    assert check(path.read_text()) == []


FAULTS = [
    (config('<Label value="a">'), 4, "mismatched tag"),
    (config('<Label value="a"/>') + "\n<View/>", 7, "junk after document element"),
    ("", 1, "not well-formed XML"),
    ('<!DOCTYPE x [<!ENTITY a "b">]>\n' + config('<Label value="&a;"/>'), 1, "document type"),
    (config('<Label value="a"/>').replace("View>", "Form>"), 1, "wants <View>"),
    ('<View>\n<Image name="image" value="$image"/>\n</View>', 1, "no <RectangleLabels>"),
    (config(""), 2, "has no <Label"),
    (config("<Label/>"), 3, "<Label> has no value"),
    (config('<Label value="a"/>\n<Label value="a"/>'), 4, "'a' stands in line 3 already"),
    (config('<Label value="Fox"/>\n<Label value="fox"/>'), 4, "'fox' is 'Fox' to the loop"),
    (config('<Label value="e\u0301"/>\n<Label value="\u00e9"/>'), 4, "stands in line 3 already"),
    (config('<Label value="fox "/>'), 3, "begins or ends with a blank"),
    (
        config('<Label value="a"/>', control='name="label" toName="img"'),
        2,
        "toName='img': no tag has that name",
    ),
    (config('<Label value="a"/>', control='toName="image"'), 2, '<RectangleLabels> needs name="…"'),
    (config('<Label value="a"/>', control='name="image" toName="image"'), 5, "the name 'image' is taken"),
    (config('<Label value="a"/>', control='name="label" toName="label"'), 2, "not an <Image>"),
    (config('<Label value="a"/>', image='"image"'), 5, "names no key of a task"),
    (
        config('<Label value="a"/>', control='name="label" toName="image" value="$labels"'),
        2,
        "takes its labels from each task",
    ),
    (config("", control='name="label" toName="image" value="$labels"'), 2, "write each as <Label"),
    (
        config('<Label value="cat" alias="x"/>\n<Label value="Katze" alias="cat"/>'),
        3,
        "the label of line 4 is stored as",
    ),
    (
        config('<Label value="a"/>').replace(
            "</View>",
            '<RectangleLabels name="two" toName="image"><Label value="a"/></RectangleLabels></View>',
        ),
        6,
        "'a' stands in line 3 already",
    ),
    (
        config('<Label value="a"/>').replace(' value="$image"', ' valueList="$images"'),
        5,
        'make a task of each image and write value="$image"',
    ),
    (
        config('<Label value="a"/>', control='name="label" toName="image,other"').replace(
            "</View>", '<Image name="other" value="$other"/></View>'
        ),
        2,
        "draws on several images",
    ),
    (
        "<View>\n<Repeater on='$images' indexFlag='{{i}}'>"
        + config('<Label value="a"/>', image='"$images[{{i}}]"')
        + "</Repeater></View>",
        2,
        "make a task of each image and remove the <Repeater>",
    ),
    (config('<Label value="a"/>').replace(' value="$image"', ""), 5, '<Image> needs name="…" and value="$…"'),
]


@pytest.mark.parametrize(("xml", "line", "words"), FAULTS)
def test_a_fault_is_told_with_its_line(xml: str, line: int, words: str) -> None:
    found = [finding for finding in check(xml) if finding.fault]
    assert any(finding.line == line and words in finding.text for finding in found), found


@pytest.mark.parametrize(
    ("xml", "line", "words"),
    [
        (
            config('<Label value="a" hotkey="1"/>\n<Label value="b" hotkey="1"/>'),
            4,
            "hotkey '1' is that of 'a'",
        ),
        (config('<Label value="a\u200b"/>'), 3, "U+200B"),
        (
            config('<Label value="a"/>', image='"https://example.org/$file"'),
            5,
            'not for LABEL_CONFIG: the images of volumes/images need value="$image"',
        ),
        (
            config('<Label value="$name"/>'),
            3,
            "each task names it, and all its boxes are '$name' to the loop",
        ),
        (
            config('<Label value="a" predicted_values="cat"/>\n<Label value="b" predicted_values="Cat"/>'),
            4,
            "'Cat' goes to 'b' alone, not to 'a' (line 3)",
        ),
        (
            config('<Label value="a"/>').replace(
                "</View>",
                '<Image name="two" value="$two"/><RectangleLabels name="other" toName="two">'
                '<Label value="b"/></RectangleLabels></View>',
            ),
            6,
            "boxes on 'image' alone (line 2)",
        ),
        (
            config('<Label value="a"/>').replace(
                "</View>", '<BrushLabels name="two" toName="image"><Label value="b"/></BrushLabels></View>'
            ),
            6,
            "learns nothing from its regions",
        ),
    ],
)
def test_a_surprise_is_told_but_stops_nothing(xml: str, line: int, words: str) -> None:
    [finding] = check(xml)
    assert (finding.line, finding.fault) == (line, False) and words in finding.text


def test_names_in_any_script_are_welcome() -> None:
    assert (
        check(config('<Label value="Füchse"/><Label value="猫"/><Label value="кошка"/><Label value="🦊"/>'))
        == []
    )


@pytest.mark.parametrize("xml", [xml for xml, _, _ in FAULTS])
def test_what_the_loop_refuses_is_a_fault(xml: str) -> None:
    try:
        parse_label_config(xml)
    except LabelConfigError:
        assert any(finding.fault for finding in check(xml))


def test_coco_is_mmdets() -> None:
    from mmdet.datasets import CocoDataset

    assert tuple(CocoDataset.CLASSES) == vocabulary.CLASSES
    assert all(set(names.split(",")) <= set(vocabulary.CLASSES) for names in vocabulary.WORDS.values())


@pytest.mark.parametrize(
    ("label", "classes"),
    [
        ("Vehicle", ("car", "truck", "bus", "motorcycle")),
        ("cars", ("car",)),
        ("buses", ("bus",)),
        ("traffic_light", ("traffic light",)),
        ("Racoon", ("cat", "dog", "bear")),
        ("motorcicle", ("motorcycle",)),
        ("RBC", ()),
        ("defect", ()),
        ("猫", ()),
    ],
)
def test_near_misses_are_understood(label: str, classes: tuple[str, ...]) -> None:
    assert vocabulary.suggestion(label) == classes


ON_PYTHON_ALONE = (
    "clocks",
    "cluster_node",
    "database_place",
    "errors",
    "findings",
    "join_file",
    "label_check",
    "label_fill",
    "label_xml",
    "labels",
    "layout",
    "locks",
    "ranges",
    "ray_environment",
    "reach",
    "renaming",
    "schedule",
    "task_value",
    "vocabulary",
)


@pytest.mark.parametrize("module", ON_PYTHON_ALONE)
def test_the_checker_is_written_for_the_hosts_python(module: str) -> None:
    source = (REPO / "images" / "base" / "labelloop" / f"{module}.py").read_text()
    ast.parse(source, feature_version=(3, 9))
    assert "from __future__ import annotations" in source


def test_make_imports_no_other_module_of_ours() -> None:
    imported = set()
    for path in (REPO / "compose" / "lifecycle").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "labelloop":
                imported |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("labelloop."):
                imported.add(str(node.module).partition(".")[2])
    assert {"layout", "locks"} <= imported <= set(ON_PYTHON_ALONE)


def test_the_checker_runs_on_python_alone() -> None:
    """No package is there before `make up` has built anything."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "compose/lifecycle", "labels", "FILE=configs/labels/everyday.xml"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "usable       9 labels" in done.stdout


CLICKS = [
    ('<RectangleLabels name="b" toName="image" smart="false"><Label value="b"/></RectangleLabels>', "no box"),
    ('<KeyPointLabels name="k" toName="image"><Label value="a"/></KeyPointLabels>', None),
    ('<KeyPointLabels name="k" toName="image" smart="true"><Label value="a"/></KeyPointLabels>', None),
    (
        '<KeyPointLabels name="k" toName="image" smart="true"><Label value="z"/></KeyPointLabels>',
        "no <RectangleLabels> has 'z'",
    ),
    ('<Brush name="k" toName="image" smart="true"/>', "the model's answer is a rectangle"),
    ('<Brush name="k" toName="image"/>', None),
]


@pytest.mark.parametrize(("more", "told"), CLICKS)
def test_where_a_click_fetches_no_box_it_says_why(more: str, told: str | None) -> None:
    xml = config('<Label value="a"/>').replace("</View>", f"{more}\n</View>")
    found = [finding for finding in check(xml) if "fetches" in finding.text]
    assert [finding.line for finding in found] == ([6] if told else [])
    assert all(told in finding.text and not finding.fault for finding in found if told)
