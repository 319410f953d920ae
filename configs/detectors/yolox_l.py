# YOLOX-l (54 M parameters): for a GPU.
from labelloop.detector import mmdet_config

_base_ = mmdet_config("yolox/yolox_l_8x8_300e_coco.py")

# Training images of 640 pixels, drawn at 480 to 800; 300 iterations at 40 labelled images.
loop = dict(train_size=640, iterations=300)

model = dict(input_size=(640, 640), random_size_range=(15, 25))
# Whole images in many sizes: a round is too short for what mmdet's mosaics teach in 300 epochs.
data = dict(train=dict(skip_type_keys=("Mosaic", "RandomAffine", "MixUp")))
optimizer = dict(
    _delete_=True,
    type="AdamW",
    lr=0.0005,
    weight_decay=0.05,
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
# The mAP on COCO of the published weights, in percent, as their makers give it: DETECTOR=auto chooses among
# detectors that say it, and takes the higher for the stronger.
coco_map = 49.4
# The licence of the published weights, as Hugging Face writes it; `make model` passes it on.
weights_licence = "apache-2.0"
