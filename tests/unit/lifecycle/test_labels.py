"""`make labels`: what it prints, and when it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lifecycle.console import Failure
from lifecycle.engine import NoEngine
from lifecycle.home import Home
from lifecycle.shell import phrases
from lifecycle.verbs import labels as module
from lifecycle.verbs.labels import labels

REPO = Path(__file__).parents[3]
CONFIG = """<View>
  <RectangleLabels name="label" toName="image">
    <Label value="Cat"/>
    <Label value="vehicle" background="#fff"/>
    <Label value="ufo"/>
    <Label value="pet" predicted_values="dogg,bird"/>
  </RectangleLabels>
  <Image name="image" value="$image"/>
</View>
"""


@pytest.fixture
def mine(home: Home) -> Home:
    (home.root / "configs" / "labels" / "mine.xml").write_text(CONFIG)
    (home.root / "configs" / "detectors" / "yolox_mobilenetv2.py").write_text("")
    return home


FILE = {"FILE": "configs/labels/mine.xml"}


def in_service(home: Home, classes: list[str], **card: object) -> None:
    version = home.volumes / "models" / "3" / "v0002"
    version.mkdir(parents=True)
    (version / "card.json").write_text(json.dumps({"classes": classes, "detector": "yolox_s", **card}))
    (version.parent / "champion").write_text("v0002\n")
    home.provisioned.parent.mkdir(parents=True)
    home.provisioned.write_text(json.dumps({"project": 3, "done": True}))


class FakeStack:
    """found: what would be orphaned in any project but 7, where nothing would."""

    def __init__(self, found: Any, left: Any = ()) -> None:
        self.found, self.left = found, left

    def orphans(self, xml: str, project: str | None) -> Any:
        assert xml == CONFIG
        return [] if project == "7" else self.found

    def left_alone(self) -> Any:
        return self.left


def test_before_the_first_start_the_starting_model_is_explained(mine: Home, capsys: Any) -> None:
    labels(mine, FILE)
    told = capsys.readouterr().out
    assert "What yolox_nano recognises: it knows COCO's classes, as all do that DETECTOR=auto may" in told
    assert 'line 2: <RectangleLabels> strokeWidth="2" canRotate="false"' in told
    assert 'line 3: <Label value="Cat"> background="#D55E00"' in told and "line 4: <Label" not in told
    assert "Cat          takes cat" in told
    assert "ufo          starts from scratch" in told and "pet          takes bird" in told
    assert (
        'car, truck, bus, motorcycle? <Label value="vehicle" background="#fff" predicted_values="car,truck,'
        in told
    )
    assert "predicted_values of 'pet': 'dogg' is no class of it; dog?" in told
    assert "No label takes 78 of its 80 classes" in told and "toothbrush" in told
    assert "gets boxes once an image that has some of it is submitted: the first ones at once (INSTANT)" in (
        " ".join(told.split())
    )
    assert "from about 5 labelled images on" in told and "starts by itself at 5, " in told
    assert "`make up LABEL_CONFIG=configs/labels/mine.xml`" in told


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (('"ufo"/', '"ufo" overlap="true"/'), "overlap      'ufo': a box may lie on another label's box"),
        (("toName", 'overlap="ufo,Cat" toName'), "overlap      'Cat', 'ufo': a box may lie on another"),
        (("toName", 'choice="multiple" toName'), "overlap      all labels: a box may lie on another"),
        (("", ""), None),
    ],
)
def test_labels_that_may_overlap_are_told(
    mine: Home, capsys: Any, given: tuple[str, str], told: str | None
) -> None:
    (mine.root / FILE["FILE"]).write_text(CONFIG.replace(*given) if given[0] else CONFIG)
    labels(mine, FILE)
    said = capsys.readouterr().out
    assert (told or "") in said and ("overlap  " in said) == (told is not None)


def test_a_gpus_default_and_a_detector_that_is_asked_for(mine: Home, capsys: Any) -> None:
    mine.env_file.write_text("COMPOSE_FILE=docker-compose.yml:compose/gpu.yml\n")
    labels(mine, FILE)
    assert "What yolox_s recognises" in capsys.readouterr().out
    labels(mine, {**FILE, "DETECTOR": "yolox_mobilenetv2"})
    told = capsys.readouterr().out
    assert "proposes nothing before it has learnt from labels" in told and "takes" not in told
    assert "AP50 0.70 with 40 labelled images" in told and "starts by itself at 3, " in told


def test_the_model_in_service_speaks_for_itself(
    mine: Home, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_service(mine, ["ufo", "cat"])
    monkeypatch.setattr(module, "running_stack", lambda home, settings: FakeStack([]))
    labels(mine, FILE)
    told = capsys.readouterr().out
    assert "What v0002 (yolox_s) recognises: it is in service" in told and "ufo          takes ufo" in told
    assert "annotations  none would lose its label" in told


def test_of_a_version_trained_here_names_alone_count(
    mine: Home, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bird` was a label when the version was trained, and `predicted_values` hand it to no other."""
    in_service(mine, ["ufo", "cat", "bird"], dataset_fingerprint="made")
    monkeypatch.setattr(module, "running_stack", lambda home, settings: FakeStack([]))
    labels(mine, FILE)
    told = capsys.readouterr().out
    assert "v0002 (yolox_s) recognises: it is in service, trained on this project's labels" in told
    assert "ufo          takes ufo" in told and "Cat          takes cat" in told
    assert "pet          starts from scratch" in told and "No label takes 1 of its 3 classes" in told
    assert "predicted_values" not in told


@pytest.fixture
def orphaning(mine: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    in_service(mine, ["cat"])
    found = FakeStack(["label 'fox' in 2 annotations"])
    monkeypatch.setattr(module, "running_stack", lambda home, settings: found)
    return mine


def test_a_label_config_that_would_orphan_annotations_is_refused(orphaning: Home) -> None:
    orphaning.local_settings.write_text(f"LABEL_CONFIG={FILE['FILE']}\n")
    with pytest.raises(Failure, match="mine.xml would orphan annotations: label 'fox' .* RENAME=old=new"):
        labels(orphaning, FILE)


def test_a_file_for_another_project_does_not_fail_on_the_first_ones_labels(
    orphaning: Home, capsys: Any
) -> None:
    labels(orphaning, FILE)
    told = capsys.readouterr().out
    assert "as LABEL_CONFIG it would be refused: it lacks label 'fox' in 2 annotations" in told
    assert "`make up LABEL_CONFIG=configs/labels/mine.xml PROJECT_TITLE='a new project'`" in told


def test_a_project_that_is_named_is_the_one_that_is_asked(orphaning: Home, capsys: Any) -> None:
    labels(orphaning, {**FILE, "PROJECT": "7"})
    assert "none would lose its label" in capsys.readouterr().out
    with pytest.raises(Failure, match="would orphan annotations"):
        labels(orphaning, {**FILE, "PROJECT": "2"})


def test_projects_that_are_left_alone_are_named_with_the_reason(
    mine: Home, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_service(mine, ["cat"])
    mine.local_settings.write_text(f"LABEL_CONFIG={FILE['FILE']}\n")
    found = FakeStack([], ["5 (pages): the label config, line 2: <Image valueList=…"])
    monkeypatch.setattr(module, "running_stack", lambda home, settings: found)
    labels(mine, {})
    assert "left alone   project 5 (pages): the label config, line 2: " in capsys.readouterr().out


def test_a_stack_that_is_down_is_no_fault(mine: Home, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    in_service(mine, ["cat"])
    monkeypatch.setattr(module, "running_stack", lambda home, settings: FakeStack(None))
    labels(mine, FILE)
    assert "not looked at" in capsys.readouterr().out

    def no_engine(home: Home, settings: Any) -> Any:
        raise NoEngine("Cannot connect to the Docker daemon")

    monkeypatch.setattr(module, "running_stack", no_engine)
    labels(mine, FILE)
    assert "not looked at" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "mine.xml: found No such file"),
        (b"<View>\n\xff</View>", "mine.xml, line 2: found the byte 0xff, needed UTF-8"),
        (b"<View/>", "mine.xml can't be used: 1 fault"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(mine: Home, content: bytes | None, message: str) -> None:
    file = mine.root / FILE["FILE"]
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(Failure, match=message):
        labels(mine, FILE)


def test_a_byte_order_mark_is_no_fault(mine: Home, capsys: Any) -> None:
    (mine.root / FILE["FILE"]).write_bytes(b"\xef\xbb\xbf" + CONFIG.encode())
    labels(mine, FILE)
    assert "usable" in capsys.readouterr().out


def test_the_label_config_in_force_is_checked_when_no_file_is_named(mine: Home, capsys: Any) -> None:
    shutil.copy(REPO / "configs" / "labels" / "everyday.xml", mine.root / "configs" / "labels")
    labels(mine, {})
    assert "configs/labels/everyday.xml" in capsys.readouterr().out


def test_the_detectors_are_the_trainers() -> None:
    from trainer.training import weights

    assert set(module.KNOW_COCO) == set(weights.PUBLISHED)
    assert module.KNOWS_NOTHING == weights.FALLBACK
    assert set(weights.DEFAULT.values()) <= set(module.KNOW_COCO)


@pytest.mark.parametrize(
    ("command", "text", "found"),
    [
        (["cat"], "[\"label 'fox' in 2 annotations\"]", ["label 'fox' in 2 annotations"]),
        (["cat"], "[]", []),
        (["cat"], "Traceback", None),
        (["cat"], '{"error": "x"}', None),
        (["false"], "[]", None),
        (["/nowhere/python"], "[]", None),
        (["sleep", "9"], "[]", None),
    ],
)
def test_an_answer_that_cannot_be_had_is_no_answer(
    command: list[str], text: str, found: list[str] | None, tmp_path: Path
) -> None:
    assert phrases(command, text, cwd=tmp_path, seconds=0.2 if command[0] == "sleep" else 60) == found
