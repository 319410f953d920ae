# YOLOX's neck and head on MobileNetV2 (3.5 M parameters): for where no detection weights can be had. Its
# ImageNet backbone comes from the package index; it predicts nothing before its first round.
from labelloop.detector import mmdet_config

_base_ = mmdet_config("yolox/yolox_tiny_8x8_300e_coco.py")

# Training images of 320 pixels, drawn at 256 to 384; 250 iterations at 40 labelled images.
loop = dict(train_size=320, test_size=320, iterations=250)

model = dict(
    input_size=(320, 320),
    random_size_range=(8, 12),
    backbone=dict(_delete_=True, type="MobileNetV2", out_indices=(2, 4, 7)),
    neck=dict(in_channels=[32, 96, 1280], out_channels=96, use_depthwise=True),
    bbox_head=dict(in_channels=96, feat_channels=96, use_depthwise=True),
)
# Whole images in many sizes: a round is too short for what mmdet's mosaics teach in 300 epochs.
data = dict(train=dict(skip_type_keys=("Mosaic", "RandomAffine")))
optimizer = dict(
    _delete_=True,
    type="AdamW",
    lr=0.002,
    weight_decay=0.05,
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
# The licence of the published weights, as Hugging Face writes it; `make model` passes it on.
weights_licence = "bsd-3-clause"
