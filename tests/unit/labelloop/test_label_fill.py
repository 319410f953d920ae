"""What is filled into a label config, and that its colours can be told apart by all eyes."""

from itertools import combinations

import numpy as np
import pytest

from labelloop.label_fill import PALETTE, fill_in
from labelloop.labels import parse_label_config

DOCUMENTED = """<View>
  <RectangleLabels name="label" toName="image">
    <Label value="raccoon" predicted_values="cat,dog,bear" hotkey="1"/>
    <!-- shy --> <Label value="fox"
      hotkey="2"/>
  </RectangleLabels>
  <Image name="image" value="$image"/>
</View>
"""

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
EYES = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def cie_lab(colour: str, eyes: str) -> np.ndarray:
    rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(EYES[eyes] @ linear, 0, 1) / np.array([0.95047, 1, 1.08883])
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def nearest(colours: tuple[str, ...], eyes: str) -> float:
    """The least distance of two of them in CIELAB, of which 2.3 can just be seen."""
    seen = [cie_lab(colour, eyes) for colour in colours]
    return min(float(np.linalg.norm(one - other)) for one, other in combinations(seen, 2))


@pytest.mark.parametrize("eyes", EYES)
def test_whatever_eyes_one_has_the_colours_can_be_told_apart(eyes: str) -> None:
    assert nearest(PALETTE[:16], eyes) > 16 and nearest(PALETTE, eyes) > 14
    assert len(set(PALETTE)) == 20


def test_the_colours_of_earlier_releases_could_not() -> None:
    """Blue and pink; so this measure can tell."""
    assert nearest(("#E6194B", "#F58231", "#4363D8", "#911EB4", "#46B3C8", "#F032E6"), "protanopia") < 5


def test_what_is_open_is_filled_in_and_nothing_else_changes() -> None:
    filled = fill_in(DOCUMENTED)
    assert filled.told == (
        'line 2: <RectangleLabels> strokeWidth="2" canRotate="false"',
        'line 3: <Label value="raccoon"> background="#D55E00"',
        'line 4: <Label value="fox"> background="#56B4E9"',
    )
    assert filled.xml == (
        DOCUMENTED.replace('toName="image">', 'toName="image" strokeWidth="2" canRotate="false">')
        .replace('hotkey="1"/>', 'hotkey="1" background="#D55E00"/>')
        .replace('hotkey="2"/>', 'hotkey="2" background="#56B4E9"/>')
    )
    assert fill_in(filled.xml) == type(filled)(filled.xml, ())
    assert parse_label_config(filled.xml) == parse_label_config(DOCUMENTED)


def test_a_persons_own_attributes_win_and_no_label_looks_like_hers() -> None:
    own = DOCUMENTED.replace('toName="image">', 'toName="image" canRotate="true" strokeWidth="">').replace(
        'value="fox"', 'value="fox" background="#d60"'
    )
    assert fill_in(own).told == ('line 3: <Label value="raccoon"> background="#56B4E9"',)


@pytest.mark.parametrize("attribute", ["fillColor", "strokeColor"])
def test_a_controls_own_colour_stays_that_of_all_its_boxes(attribute: str) -> None:
    own = DOCUMENTED.replace('toName="image">', f'toName="image" {attribute}="red">')
    assert fill_in(own).told == ('line 2: <RectangleLabels> strokeWidth="2" canRotate="false"',)


def test_labels_beyond_the_palette_begin_anew() -> None:
    tags = "".join(f'<Label value="{number}"/>' for number in range(42))
    told = fill_in(DOCUMENTED.replace("<!-- shy -->", tags)).told[1:]
    colours = [phrase.split('background="')[1].rstrip('"') for phrase in told]
    assert colours == [PALETTE[number % 20] for number in range(44)]


def test_what_the_loop_does_not_learn_from_is_left_alone() -> None:
    """Rectangles on another image, whose rotation may mean something; other shapes; no boxes at all."""
    beside = (
        '<Image name="other" value="$other"/>'
        '<RectangleLabels name="more" toName="other"><Label value="cat"/></RectangleLabels>'
        '<PolygonLabels name="shape" toName="image"><Label value="cat"/></PolygonLabels></View>'
    )
    assert fill_in(DOCUMENTED.replace("</View>", beside)).told == fill_in(DOCUMENTED).told
    assert fill_in("<View/>").told == ()
