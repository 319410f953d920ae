"""Detectors of mmdet's families, from its own configs, with so few channels that a test can afford them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmcv import Config

# One config for each way in which a head may follow the number of classes.
FAMILIES = {
    "yolox": "yolox/yolox_nano_8x8_300e_coco.py",
    "fcos": "fcos/fcos_r50_caffe_fpn_gn-head_1x_coco.py",
    "retinanet": "retinanet/retinanet_r50_fpn_1x_coco.py",
    "atss": "atss/atss_r50_fpn_1x_coco.py",
    "gfl": "gfl/gfl_r50_fpn_1x_coco.py",
    "vfnet": "vfnet/vfnet_r50_fpn_mdconv_c3-c5_mstrain_2x_coco.py",
    "ssd": "ssd/ssdlite_mobilenetv2_scratch_600e_coco.py",
    "yolov3": "yolo/yolov3_mobilenetv2_320_300e_coco.py",
    "faster_rcnn": "faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py",
    "cascade_rcnn": "cascade_rcnn/cascade_rcnn_r50_fpn_1x_coco.py",
    "deformable_detr": "deformable_detr/deformable_detr_r50_16x2_50e_coco.py",
    "detr": "detr/detr_r50_8x2_150e_coco.py",
}
CHANNELS = (
    "in_channels", "out_channels", "feat_channels", "fc_out_channels", "embed_dims", "num_feats",
)  # fmt: skip
AT_MOST = {"num_query": 12, "num_layers": 1, "stacked_convs": 1, "num_heads": 4}


def family(name: str) -> "Config":
    """mmdet's config of a family, small; it still has COCO's 80 classes."""
    from mmcv import Config

    from labelloop.detector import mmdet_config

    config = Config.fromfile(mmdet_config(FAMILIES[name]))
    model = config.model
    if name == "yolox":
        model.backbone.widen_factor = 0.125
        model.neck.update(in_channels=[32, 64, 128], out_channels=16)
        model.bbox_head.update(in_channels=16, feat_channels=16)
    elif name == "ssd":
        model.backbone.widen_factor = 0.125
        model.neck.update(in_channels=(16, 1280), out_channels=(16, 1280, 32, 16, 16, 8))
        model.bbox_head.update(in_channels=(16, 1280, 32, 16, 16, 8))
    elif name == "yolov3":
        model.backbone.widen_factor = 0.125
        model.neck.update(in_channels=[40, 16, 8], out_channels=[16, 16, 16])
        model.bbox_head.update(in_channels=[16, 16, 16], out_channels=[16, 16, 16])
    else:
        _shrink(model)
        model.backbone.base_channels = 4
        if name in ("fcos", "atss", "gfl", "vfnet"):
            model.bbox_head.norm_cfg = dict(type="GN", num_groups=4)
        elif name == "deformable_detr":
            model.neck.norm_cfg = dict(type="GN", num_groups=4)
    return config


def random_model(config: "Config") -> Any:
    """mmdet's model of a config with random weights, by torch's seed. For Deformable DETR's `level_embeds` it
    only makes room: without values drawn here they are whatever the memory held, at times no numbers.
    """
    from mmdet.models import build_detector
    from torch.nn.init import normal_

    model = build_detector(config.model)
    for name, values in model.named_parameters():
        if name.endswith("level_embeds"):
            normal_(values)
    return model


def _shrink(node: Any) -> None:
    """A sixteenth of the channels."""
    if isinstance(node, list | tuple):
        for value in node:
            _shrink(value)
    if not isinstance(node, dict):
        return
    for key, value in list(node.items()):
        if key in CHANNELS:
            node[key] = [v // 16 for v in value] if isinstance(value, list | tuple) else value // 16
        elif key in AT_MOST and isinstance(value, int):
            node[key] = min(value, AT_MOST[key])
        else:
            _shrink(value)
    if "feedforward_channels" in node:
        node["feedforward_channels"] = 32
        node["ffn_cfgs"] = dict(type="FFN", embed_dims=16)
