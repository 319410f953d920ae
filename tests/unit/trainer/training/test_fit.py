"""A head's rows go with their labels, in every family of detectors."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmcv import Config
from mmdet.models import build_detector
from support.families import FAMILIES, family, random_model

from labelloop.detector import load_detector_config
from labelloop.settings import Settings
from trainer.training.fit import FitError, blend, carry_over, head_in_words, knows_every_label
from trainer.training.head import Rows, class_rows
from trainer.training.recipe import fit_model

REPO = Path(__file__).parents[4]
State = dict[str, torch.Tensor]
BEFORE = ["ball", "crate", "drum"]
AFTER = {
    "same": ["ball", "crate", "drum"],
    "reordered": ["drum", "ball", "crate"],
    "one added": ["ball", "egg", "crate", "drum"],
    "one removed": ["ball", "drum"],
    "all of it": ["egg", "drum", "ball", "flag"],
}
SIDE = 64
# So that every box of every class comes out.
EVERYTHING = {
    "score_thr": 0.0,
    "conf_thr": 0.0,
    "nms_pre": 10_000,
    "max_per_img": 10_000,
    "nms": dict(type="nms", iou_threshold=1.0),
}
# Of these a class's score is looked at before mmdet drops all but the best class of a place.
RAW = ("yolox", "detr", "deformable_detr")
SOFTMAX = ("ssd", "faster_rcnn", "cascade_rcnn")


def random_state(config: Config, classes: list[str], seed: int) -> State:
    """Like weights that were trained: no two classes are alike in anything."""
    config = deepcopy(config)
    fit_model(config, classes)
    torch.manual_seed(seed)
    state: State = random_model(config).state_dict()
    return {
        key: value + 0.1 * torch.randn_like(value)
        if value.is_floating_point() and "running" not in key
        else value
        for key, value in state.items()
    }


def by_label(name: str, config: Config, classes: list[str], state: State) -> dict[str, torch.Tensor]:
    """What the detector says of one picture: by label its scores, or all its boxes with their scores."""
    config = deepcopy(config)
    fit_model(config, classes)
    for part in (config.model.get("test_cfg"), config.model.get("test_cfg", {}).get("rcnn")):
        if part is not None:
            part.update({key: EVERYTHING[key] for key in EVERYTHING.keys() & {*part, "nms"}})
    model = build_detector(config.model)
    model.load_state_dict(state)
    model.eval()
    image = torch.rand((1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    shape = (SIDE, SIDE, 3)
    meta = dict(img_shape=shape, ori_shape=shape, pad_shape=shape, batch_input_shape=shape[:2])
    with torch.no_grad():
        if name in RAW:
            features = model.extract_feat(image)
            outputs = model.bbox_head(features, [meta]) if "detr" in name else model.bbox_head(features)
            scores = [level.movedim(1 if name == "yolox" else -1, 0).flatten(1) for level in outputs[0]]
            return {label: torch.cat([s[at] for s in scores]) for at, label in enumerate(classes)}
        found = model.simple_test(image, [meta | dict(scale_factor=1.0, flip=False)])[0]
    return {label: sorted_rows(torch.from_numpy(boxes)) for label, boxes in zip(classes, found, strict=True)}


def sorted_rows(boxes: torch.Tensor) -> torch.Tensor:
    """(n, 5) in an order of their own."""
    for column in range(boxes.shape[1]):
        boxes = boxes[torch.argsort(boxes[:, column], stable=True)]
    return boxes


def against_background(scores: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """In softmax's place: each class beside the background alone, so that other labels do not matter."""
    return torch.sigmoid(scores - scores[..., -1:])


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def after_the_change(
    name: str, config: Config, source: State, after: list[str], seeds: tuple[int, ...]
) -> list[dict[str, torch.Tensor]]:
    """What is seen of each label once `source`'s weights are carried over to `after`, into fresh weights of
    each seed.
    """
    to_label = [after.index(label) if label in after else None for label in BEFORE]
    fitted = deepcopy(config)
    fit_model(fitted, after)
    rows = class_rows(fitted, len(after))
    seen = []
    for seed in seeds:
        start = carry_over(random_state(config, after, seed), source, rows, to_label, len(after))
        assert start.lost == ()
        seen.append(by_label(name, config, after, start.state))
    return seen


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_seen_of_a_label_is_the_same_whatever_becomes_of_the_others(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in SOFTMAX:
        monkeypatch.setattr(torch.nn.functional, "softmax", against_background)
        monkeypatch.setattr(torch.Tensor, "softmax", against_background)
    config = family(name)
    source = random_state(config, BEFORE, 0)
    old = by_label(name, config, BEFORE, source)
    assert old["ball"].numel() >= 12 and not torch.allclose(old["ball"], old["drum"])
    for change, after in AFTER.items():
        added = set(after) - set(BEFORE)
        new, *other = after_the_change(name, config, source, after, (1, 2) if added else (1,))
        for label in set(after) - added:
            same = new[label].shape == old[label].shape and torch.allclose(
                new[label], old[label], rtol=1e-4, atol=1e-4
            )
            assert same, f"{change}: {label}"
        assert not any(torch.allclose(new[label], other[0][label]) for label in added), "they start anew"


def test_a_label_starts_at_the_mean_of_the_classes_that_stand_for_it() -> None:
    """YOLOX's rows are one a class: index 0 is the mean of three of COCO's, 1 is nobody's."""
    config = load_detector_config("yolox_nano", Settings(labelloop_home=REPO))
    coco = random_state(config, [""] * 80, 1)
    fit_model(config, ["raccoon", "thing"])
    fresh = random_state(config, ["raccoon", "thing"], 2)
    to_label: list[int | None] = [None] * 80
    for coco_class in (15, 16, 21):
        to_label[coco_class] = 0
    rows = class_rows(config, 2)
    assert rows == {
        f"bbox_head.multi_level_conv_cls.{level}.{kind}": Rows(1)
        for level in range(3)
        for kind in ("weight", "bias")
    }
    start = carry_over(fresh, coco, rows, to_label, 2)
    for key in rows:
        assert torch.equal(start.state[key][0], coco[key][[15, 16, 21]].mean(dim=0))
        assert torch.equal(start.state[key][1], fresh[key][1])
    assert all(torch.equal(start.state[key], coco[key]) for key in fresh if key not in rows)
    with pytest.raises(FitError, match="do not fit the detector"):
        carry_over(fresh, {}, rows, to_label, 2)


TWO = {"body": torch.zeros(1), "head": torch.zeros(2, 3)}


@pytest.mark.parametrize(
    ("theirs", "rows"),
    [(torch.ones(2, 3), None), (torch.ones(2, 4), Rows(1)), (torch.ones(5, 3), Rows(1)), (None, Rows(1))],
    ids=["rows nobody knows", "another shape", "another number of rows", "not there"],
)
def test_what_cannot_be_carried_over_is_told(theirs: torch.Tensor | None, rows: Rows | None) -> None:
    source = {"body": torch.ones(1)} | ({} if theirs is None else {"head": theirs})
    start = carry_over(TWO, source, {"head": rows}, (1, 0), 2)
    assert start.lost == ("head",) and torch.equal(start.state["head"], TWO["head"])
    assert head_in_words((1, 0), ["ball", "crate"], start.lost) == (
        "ball, crate from classes of the weights; "
        "all labels at random in 1 tensor that could not be carried over: head"
    )
    nobody = carry_over(TWO, source, {"head": rows}, (None, None), 2)
    assert nobody.lost == (), "there was nothing to carry over"


def test_where_no_class_changes_whole_tensors_are_taken_whatever_their_rows_mean() -> None:
    source = {"body": torch.ones(1), "head": torch.ones(2, 3)}
    start = carry_over(TWO, source, {"head": None}, (0, 1), 2)
    assert start.lost == () and torch.equal(start.state["head"], source["head"])


def test_fine_tuning_is_when_no_label_starts_at_random() -> None:
    assert knows_every_label((None, 0, 0, 1), 2)
    assert not knows_every_label((None, 0, 0, None), 2)
    assert not knows_every_label((), 1)


def test_where_labels_start_is_told_in_words() -> None:
    assert head_in_words((1, None), ["new", "old"], ()) == "old from classes of the weights; new at random"
    assert head_in_words((), ["new"], ()) == "new at random"


def test_a_blend_lies_between_a_fine_tune_and_its_start() -> None:
    start = {"weight": torch.zeros(3), "num_batches_tracked": torch.tensor(7)}
    trained = {"weight": torch.ones(3), "num_batches_tracked": torch.tensor(9)}
    assert blend(trained, start, 0.25)["weight"].tolist() == [0.75, 0.75, 0.75]
    assert blend(trained, start, 0.25)["num_batches_tracked"] == 9
    assert torch.equal(blend(trained, start, 0.0)["weight"], trained["weight"])
