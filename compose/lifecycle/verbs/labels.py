"""`make labels`: is a label config usable, what will the model recognise, what would be orphaned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional
from xml.sax.saxutils import quoteattr

from labelloop import label_xml, layout, schedule, vocabulary
from labelloop.label_check import check
from labelloop.label_fill import fill_in
from labelloop.labels import LabelConfig, LabelMap, label_name, parse_label_config
from lifecycle.console import Failure, heading, line, note
from lifecycle.engine import NoEngine
from lifecycle.home import Home
from lifecycle.runtime.runtime import running_stack
from lifecycle.settings import settings as settings_module
from lifecycle.settings.settings import Settings
from lifecycle.verbs.rename import check_project, rename

KNOWS_NOTHING = "yolox_mobilenetv2"
KNOW_COCO = (
    *("yolox_nano", "yolox_tiny", "yolox_s", "fcos_r50"),
    *("yolox_m", "yolox_l", "faster_rcnn_r50", "vfnet_r50"),
)

# Measured: BCCD's red and white cells and platelets, none of which COCO has, on its test images.
_FROM_COCO = "AP50 0.83 with 10 labelled images, 0.88 with 40, 0.91 with 160"
_FROM_NOTHING = "AP50 0.70 with 40 labelled images"


@dataclass(frozen=True)
class Model:
    """Whose boxes there will be. classes: what it tells apart; none when it proposes nothing yet.

    trained: on the project's own labels, so that `predicted_values` say nothing of its classes.
    """

    name: str
    classes: tuple[str, ...]
    why: str
    trained: bool = False


def labels(home: Home, given: Mapping[str, str]) -> None:
    """Says all of it about FILE, by default LABEL_CONFIG, and changes nothing. RENAME renames labels instead.

    A file that is not LABEL_CONFIG may be meant for another project. So it fails for the annotations of a
    project only when PROJECT names it.

    Raises:
        Failure: the file can't be used; its faults are printed with their lines.
    """
    check_project(given)
    if "RENAME" in given:
        for other in ("FILE", "DETECTOR"):
            if other in given:
                raise Failure("make labels", found=f"{other} with RENAME", needed="one of them")
        return rename(home, given)
    if "DRY" in given:
        raise Failure("make labels", found="DRY without RENAME", needed="RENAME=old=new")
    settings_module.check(home, {name: value for name, value in given.items() if name == "DETECTOR"})
    settings = settings_module.load(home) | given
    name = given.get("FILE") or settings["LABEL_CONFIG"]
    text = _read(home.root / name, name)
    heading(name)
    config = _usable(text, name)
    line(
        "usable", f"{len(config.labels)} label{'' if len(config.labels) == 1 else 's'} in {config.control!r}"
    )
    _overlapping(config)
    _filled_in(text)
    _recognised(text, config, _model(home, settings, given), settings)
    lost = _orphans(home, settings, text, name, given)
    if "FILE" not in given:
        _left_alone(home, settings)
    _say_next(home, name, lost)


def _read(path: Path, name: str) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Failure(
            f"{name}", found=error.strerror or "nothing to read", needed="a file", do="See configs/labels/."
        ) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise Failure(
            f"{name}, line {number}",
            found=f"the byte 0x{content[error.start]:02x}",
            needed="UTF-8",
            do="Save the file as UTF-8.",
        ) from error


def _usable(text: str, name: str) -> LabelConfig:
    faults = 0
    for finding in check(text):
        line("FAULT" if finding.fault else "careful", f"{name}, line {finding.line}: {finding.text}")
        faults += finding.fault
    if faults:
        raise Failure(
            f"{name} can't be used: {faults} fault{'' if faults == 1 else 's'}, see above",
            do="Correct the file and check it again; configs/labels/ has examples.",
        )
    return parse_label_config(text)


def _overlapping(config: LabelConfig) -> None:
    """Labels whose boxes are proposed on other labels' boxes, too."""
    names = [name for name in config.names if name in config.marks.overlapping]
    if names and len(config.names) > 1:
        which = "all labels" if len(names) == len(config.names) else ", ".join(map(repr, names))
        line("overlap", f"{which}: a box may lie on another label's box; else one object gets one label")


def _filled_in(text: str) -> None:
    """What the project gets beside what the file says."""
    told = fill_in(text).told
    if told:
        line("filled in", "what the file leaves open; what you write there wins:")
        for phrase in told:
            note(f"  {phrase}")


def _model(home: Home, settings: Settings, given: Mapping[str, str]) -> Model:
    """The model in service; before the first start, or for another DETECTOR, the one that would start."""
    in_service = None if "DETECTOR" in given else _in_service(home, given.get("PROJECT"))
    if in_service:
        return in_service
    asked = settings.get("DETECTOR", "auto")
    default = "yolox_s" if settings.device == "cuda" else "yolox_nano"
    name = default if asked == "auto" else asked
    if name == KNOWS_NOTHING:
        return Model(
            name, (), "it has no detection weights and proposes nothing before it has learnt from labels"
        )
    if name in KNOW_COCO:
        same = ", as all do that DETECTOR=auto may take" if asked == "auto" else ""
        why = f"it knows COCO's classes{same}; where its weights can't be had, {KNOWS_NOTHING} knows nothing"
        return Model(name, vocabulary.CLASSES, why)
    why = f"taken to know COCO's classes, unless volumes/cache/weights/{name}.pth names others"
    return Model(name, vocabulary.CLASSES, why)


def _in_service(home: Home, project: Optional[str]) -> Optional[Model]:
    """From the registry; None when nothing has started yet or it can't be read."""
    try:
        project = project or json.loads(home.provisioned.read_text(encoding="utf-8"))["project"]
        models = home.volumes / layout.MODELS / str(project)
        version = (models / "champion").read_text(encoding="utf-8").strip()
        card = json.loads((models / version / "card.json").read_text(encoding="utf-8"))
        trained = card.get("dataset_fingerprint") is not None
        why = "it is in service, trained on this project's labels" if trained else "it is in service"
        return Model(f"{version} ({card['detector']})", tuple(card["classes"]), why, trained)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _recognised(text: str, config: LabelConfig, model: Model, settings: Settings) -> None:
    heading(f"What {model.name} recognises: {model.why}")
    found = LabelMap.build(model.classes, config, trained=model.trained)
    tags = {label_name(tag): tag for tag in label_xml.read(text).below("Label")}
    width = max(12, *(len(label.value) for label in config.labels))
    for index, label in enumerate(config.labels):
        taken = [name for at, name in enumerate(model.classes) if found.to_label[at] == index]
        note(f"{label.value:<{width}} {'takes ' + ', '.join(taken) if taken else 'starts from scratch'}")
        meant = () if taken or model.trained else vocabulary.suggestion(label.value, model.classes)
        if meant:
            note(f"{'':<{width}} {', '.join(meant)}? {_with_prediction(tags[label.value], meant)}")
    if not model.trained:
        _unknown_predictions(config, model)
    if found.unmatched_labels:
        _from_scratch(model, found.knows_any, settings)
    if found.unmapped_classes:
        note(f"No label takes {len(found.unmapped_classes)} of its {len(model.classes)} classes:")
        _wrapped(found.unmapped_classes)


def _unknown_predictions(config: LabelConfig, model: Model) -> None:
    """predicted_values that are no class of the model, which has some."""
    known = {name.casefold() for name in model.classes}
    for label in config.labels if known else ():
        for name in label.predicted_values:
            if name.casefold() not in known:
                near = " or ".join(vocabulary.suggestion(name, model.classes))
                told = f"predicted_values of {label.value!r}: {name!r} is no class of it"
                line("careful", f"{told}; {near}?" if near else told)


def _with_prediction(tag: label_xml.Tag, classes: Sequence[str]) -> str:
    attributes = {**tag.attributes, "predicted_values": ",".join(classes)}
    return f"<Label {' '.join(f'{name}={quoteattr(value)}' for name, value in attributes.items())}/>"


def _from_scratch(model: Model, knows_any: bool, settings: Settings) -> None:
    compared = schedule.comparable_from(settings.holdout_min, settings.holdout_percent)
    every = settings.retrain_every
    first = schedule.next_round_at(0, compared, knows_any, every)
    measured = _FROM_COCO if model.classes else _FROM_NOTHING
    note("A label from scratch gets boxes once an image that has some of it is submitted: the first ones at")
    note(
        "once (INSTANT), better ones by rounds. On blood cells, which the starting model doesn't know, rounds"
    )
    note(f"gave: {measured}.")
    when = f"by itself at {first}, or by `make retrain`" if every else "by `make retrain` (RETRAIN_EVERY=0)"
    note(f"Versions are compared from about {compared} labelled images on; the first round")
    note(f"starts {when}.")


def _wrapped(names: Sequence[str], width: int = 100) -> None:
    row = ""
    for name in names:
        if len(row) + len(name) > width:
            note(f"  {row.rstrip()}")
            row = ""
        row += f"{name}, " if name != names[-1] else name
    note(f"  {row}")


def _orphans(home: Home, settings: Settings, text: str, name: str, given: Mapping[str, str]) -> bool:
    """What is annotated already and would lose its label; asked of the stack, when it runs.

    Returns: whether anything would, which is a Failure unless the file may be meant for another project.
    """
    if not home.provisioned.exists():
        return False
    project = given.get("PROJECT")
    try:
        found = running_stack(home, settings).orphans(text, project)
    except NoEngine:
        found = None
    if found is None:
        line("annotations", "not looked at: Label Studio isn't running, or does not answer")
    elif not found:
        line("annotations", "none would lose its label")
    elif project is None and name != settings_module.load(home)["LABEL_CONFIG"]:
        line("careful", f"as LABEL_CONFIG it would be refused: it lacks {', '.join(found)}")
        note(
            "For the project that has them, rename them with `make labels RENAME=old=new`, or put them back."
        )
        return True
    else:
        raise Failure(
            f"{name} would orphan annotations: {', '.join(found)}",
            do="Put these labels back into the file, or rename them in the annotations too with `make labels "
            "RENAME=old=new`, or delete those annotations in Label Studio first, or start another project "
            "with another PROJECT_TITLE.",
        )
    return False


def _left_alone(home: Home, settings: Settings) -> None:
    """The projects of Label Studio that the loop doesn't serve, and why; asked of the stack, when it runs."""
    try:
        found = running_stack(home, settings).left_alone() if home.provisioned.exists() else None
    except NoEngine:
        found = None
    for told in found or ():
        line("left alone", f"project {told}")


def _say_next(home: Home, name: str, lost: bool) -> None:
    """lost: whether annotations of LABEL_CONFIG's project would lose labels, so that it is for another."""
    path = (home.root / name).resolve()
    inside = home.root.resolve() in path.parents
    shown = path.relative_to(home.root.resolve()) if inside else f"configs/labels/{path.name}"
    copy = "" if inside else "copy it into configs/labels/, then "
    title = " PROJECT_TITLE='a new project'" if lost else ""
    line("next", f"{copy}`make up LABEL_CONFIG={shown}{title}`")
    if lost:
        note("Or paste it into the project's settings in Label Studio, under Labeling Interface, Code.")
