"""`make labels` against Label Studio's own word: what Label Studio refuses is a fault."""

from pathlib import Path

from support.backend_home import Ask

from labelloop.label_check import check

SHIPPED = sorted((Path(__file__).parents[2] / "configs" / "labels").glob("*.xml"))
IMAGE = '<Image name="image" value="$image"/>'
BOXES = '<RectangleLabels name="label" toName="image"><Label value="a"/></RectangleLabels>'
REFUSED = [
    f"<View>{IMAGE}{BOXES}",
    '<!DOCTYPE x [<!ENTITY a "b">]><View>' + IMAGE + BOXES + "</View>",
    f"<View>{BOXES}</View>",
    f"<View>{BOXES}{IMAGE}</View>".replace("label", "image", 1),
    f'<View>{BOXES}<Image name="image"/></View>',
    f'<View>{IMAGE}{BOXES}<Image value="$other"/></View>',
    f'<View>{IMAGE}{BOXES}<Choices name="kind"><Choice value="x"/></Choices></View>',
    f'<View>{IMAGE}{BOXES}<TextArea name="note"/></View>',
    f'<View>{IMAGE}{BOXES}<TextArea name="note" toName="nothing"/></View>',
    f'<View>{IMAGE}{BOXES}<Choices name="kind" toName="image"></Choices></View>',
]


def test_what_label_studio_refuses_is_a_fault(label_studio: Ask) -> None:
    answers = label_studio(*(["refuses", xml] for xml in REFUSED))
    for xml, refusal in zip(REFUSED, answers, strict=True):
        assert refusal, f"Label Studio takes {xml}"
        assert any(finding.fault for finding in check(xml)), f"{refusal}: {xml}"


def test_label_studio_takes_every_config_that_ships(label_studio: Ask) -> None:
    answers = label_studio(*(["refuses", path.read_text()] for path in SHIPPED))
    assert dict(zip([path.name for path in SHIPPED], answers, strict=True)) == {
        path.name: "" for path in SHIPPED
    }
