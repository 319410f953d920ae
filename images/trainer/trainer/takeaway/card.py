"""What is told of a model that is taken along: its README.md, a model card in Hugging Face's format, and
model.json.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelloop.card import Card
from labelloop.detector import Detector
from labelloop.labels import SHARED_LABEL_NMS_IOU, LabelConfig
from labelloop.tidying import Rules
from trainer.takeaway.forms import ABOUT, Format
from trainer.words import plural

UNKNOWN_LICENCE = "other"
_LIBRARIES = {
    Format.ONNX: "onnx",
    Format.OPENVINO: "openvino",
    Format.TORCHSCRIPT: "pytorch",
    Format.MMDET: "mmdetection",
}


@dataclass(frozen=True)
class Told:
    """title: the project's. thresholds: by label, the score from which on a box is shown. licence: of the
    starting weights. look: width and height at which the detector looks at an image. checked: in words, the
    comparison with the backend. most: how many candidates of an image are looked at; None for mmdet's own
    form. int8: in words, what 8 bits cost; empty when it has 32.
    """

    title: str
    card: Card
    config: LabelConfig
    form: Format
    thresholds: Mapping[str, float]
    licence: str
    look: Sequence[int]
    checked: str
    most: int | None
    int8: str = ""


def model_json(told: Told, detector: Detector) -> str:
    """What predict.py reads."""
    rules = Rules.of(detector.card, told.config)
    to_label = detector.label_map(told.config).to_label
    used = [label for label in to_label if label is not None]
    about: dict[str, Any] = {
        "project": told.title,
        "version": told.card.version,
        "weights_sha256": told.card.weights_sha256,
        "detector": told.card.detector,
        "format": str(told.form) + ("-int8" if told.int8 else ""),
        "labels": told.config.names,
        "thresholds": dict(told.thresholds),
        "looks_at": list(told.look),
    }
    if told.form is Format.MMDET:
        about["to_label"] = list(to_label)
        about["one_box"] = {
            "iou": [
                [None if np.isinf(limit) else round(float(limit), 4) for limit in row]
                for row in rules.table()
            ],
            "inside": [round(float(limit), 4) for limit in rules.inside],
            "shared_iou": SHARED_LABEL_NMS_IOU if len(set(used)) < len(used) else 1.0,
        }
    return json.dumps(about, indent=2, ensure_ascii=False) + "\n"


_SECOND_LOOK = (
    "\nThat is what labelloop finds by one look at an image. It also looks at the mirror image, and what it "
    "was scored by are both looks together.\n"
)


def readme(told: Told, sizes: Mapping[str, int]) -> str:
    """README.md. sizes: of the folder's files, in bytes."""
    card, about = told.card, ABOUT[told.form]
    scores = {name: card.metrics.get(key) for name, key in (("mAP", "mAP"), ("AP50", "AP50"))}
    known = {name: value for name, value in scores.items() if isinstance(value, int | float)}
    return "".join(
        [
            _front(told, known),
            f"\n# {told.title}: {card.version}\n\n",
            f"A detector of {plural(len(told.config.names), 'label')}: {_list(told.config.names)}. "
            f"{card.detector}, {_trained(card)}, made {card.created_at:%Y-%m-%d} with labelloop.\n",
            "\n## Use\n\n```sh\n",
            f"pip install numpy pillow {about.needs}\npython predict.py photo.jpg\n```\n\n",
            "`predict.py` is one page, to read and to copy from. " + _usage(told) + "\n",
            "\n## Quality\n\n",
            _quality(known, card),
            f"\nCompared with what labelloop shows{', in 32 bits' if told.int8 else ''}: {told.checked}.\n",
            _SECOND_LOOK if card.mirrored else "",
            f"\nIn whole numbers of 8 bits, as here: {told.int8}.\n" if told.int8 else "",
            "\n| label | shown from score |\n|---|---|\n",
            *(f"| {name} | {told.thresholds[name]:.2f} |\n" for name in told.config.names),
            "\n## Licence\n\n",
            _licence(told),
            "\n## Files\n\n| | bytes |\n|---|---|\n",
            *(f"| `{name}` | {size:,} |\n" for name, size in sorted(sizes.items())),
        ]
    )


def _front(told: Told, known: Mapping[str, float]) -> str:
    """The YAML at a model card's head. JSON's strings are YAML's."""
    tags = ["object-detection", "labelloop", told.card.detector, *(["int8"] if told.int8 else [])]
    lines = [
        "---",
        f"license: {told.licence}",
        f"library_name: {_LIBRARIES[told.form]}",
        "pipeline_tag: object-detection",
        f"tags: {json.dumps(tags)}",
    ]
    if known:
        lines += [
            "model-index:",
            f"- name: {_quoted(f'{told.title} {told.card.version}')}",
            "  results:",
            "  - task: {type: object-detection}",
            f"    dataset: {{name: {_quoted('hold-out of ' + told.title)}, type: labelloop}}",
            "    metrics:",
            *(f"    - {{type: {name}, value: {value:.4f}}}" for name, value in known.items()),
        ]
    return "\n".join([*lines, "---", ""])


def _list(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 20 else ", ".join(names[:20]) + ", …"


def _trained(card: Card) -> str:
    if not card.trained:
        return "a published model that was not trained on these labels"
    return f"trained on {plural(card.images, 'image')} with {plural(card.boxes, 'box', 'boxes')}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _usage(told: Told) -> str:
    width, height = told.look
    looks = f"an image is shrunk or enlarged to fit {width} × {height} pixels"
    if told.form is Format.MMDET:
        return f"mmdet prepares the image ({looks}); of several boxes on an object `predict.py` leaves one."
    return (
        "The model takes upright images of any size and number: (n, height, width, 3), 8 bits, "
        f"red-green-blue. Inside it {looks}, and of the {told.most} likeliest candidates one box an object "
        "is left. It returns boxes (x1 y1 x2 y2 in pixels of the image), scores, the highest first and 0 "
        "where there is no box any more, and labels, which index `labels` of `model.json`."
    )


def _quality(known: Mapping[str, float], card: Card) -> str:
    if not known:
        return "It was not scored: it is a starting model, or had nothing to be scored on.\n"
    told = ", ".join(f"{name} {value:.3f}" for name, value in known.items())
    images = card.metrics.get("images")
    return f"{told} on {plural(images, 'image')} that it was not trained on.\n" if images else f"{told}.\n"


def _licence(told: Told) -> str:
    start = f"It was trained from: {told.card.start_weights or 'unknown weights'}. "
    if told.licence == UNKNOWN_LICENCE:
        return start + "Their licence isn't known here: ask who published them.\n"
    return start + f"Their licence is {told.licence}; the rights in your images and labels are yours.\n"
