"""mmdet's detectors as labelloop runs them: what they keep of what they find, and what they are given."""

import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from labelloop.images import Pixels

if TYPE_CHECKING:
    from mmcv import Config

MIN_SCORE = 0.01
MAX_BOXES = 2000
# A detector proposes an object several times, before non-maximum suppression leaves one box of it.
MAX_CANDIDATES = 5 * MAX_BOXES


def build_model(config: "Config", device: str) -> Any:
    """A config's detector, with random weights, that keeps boxes of MIN_SCORE and above, up to MAX_BOXES."""
    from mmdet.apis import init_detector

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = init_detector(deepcopy(config), device=device)
    _lower_score_threshold(model)
    _raise_limits(model)
    return model


def preparation(config: "Config") -> Callable[[Pixels], dict[str, Any]]:
    """A function from an image to what mmdet collates, by the config's test pipeline."""
    from mmdet.datasets import replace_ImageToTensor
    from mmdet.datasets.pipelines import Compose

    steps = replace_ImageToTensor(config.data.test.pipeline)[1:]
    pipeline = Compose([dict(type="LoadImageFromWebcam"), *steps])
    return lambda image: pipeline(dict(img=image))


def _lower_score_threshold(model: Any) -> None:
    """Keeps every box of MIN_SCORE and above. The code that uses the boxes decides which score suffices."""
    for head in ("bbox_head", "roi_head"):  # one-stage and two-stage detectors
        test_cfg = getattr(getattr(model, head, None), "test_cfg", None)
        if test_cfg is not None and "score_thr" in test_cfg:
            test_cfg.score_thr = MIN_SCORE


def _raise_limits(model: Any) -> None:
    """Lets a model find MAX_BOXES objects in an image, whatever limits its version was stored with.

    Only limits around a non-maximum suppression are raised. Where there is none (DETR, CenterNet), they
    belong to the network, which has so many answers and no more.
    """
    heads = [getattr(model, name, None) for name in ("bbox_head", "rpn_head", "roi_head")]
    for head in heads:
        test_cfg = getattr(head, "test_cfg", None)
        if test_cfg is None or not test_cfg.get("nms"):
            continue
        for limit, least in (("max_per_img", MAX_BOXES), ("nms_pre", MAX_CANDIDATES)):
            if 0 < test_cfg.get(limit, 0) < least:
                test_cfg[limit] = least
