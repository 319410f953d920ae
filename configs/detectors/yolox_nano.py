# YOLOX-nano (0.9 M parameters).
from labelloop.detector import mmdet_config

_base_ = mmdet_config("yolox/yolox_nano_8x8_300e_coco.py")

# Training images of 320 pixels, drawn at 256 to 416; 220 iterations at 40 labelled images. Smaller objects
# are looked at more closely: images of 512 pixels, drawn at 320 to 512, in fewer iterations. Training takes
# 2.5 GB then, not 1.9. Every other image is shown with copies of other images' objects.
loop = dict(
    train_size=320,
    test_size=352,
    iterations=220,
    paste=0.5,
    closer=[
        dict(
            train_size=512,
            test_size=448,
            iterations=144,
            memory_gb=3.2,
            model=dict(input_size=(512, 512), random_size_range=(10, 16)),
        ),
    ],
)

model = dict(input_size=(320, 320), random_size_range=(8, 13))
# Whole images in many sizes: a round is too short for what mmdet's mosaics teach in 300 epochs.
data = dict(train=dict(skip_type_keys=("Mosaic", "RandomAffine")))
optimizer = dict(
    _delete_=True,
    type="AdamW",
    lr=0.001,
    weight_decay=0.05,
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
)
# The licence of the published weights, as Hugging Face writes it; `make model` passes it on.
weights_licence = "apache-2.0"
# The mAP on COCO of the published weights, in percent, as their makers give it: DETECTOR=auto chooses among
# detectors that say it, and takes the higher for the stronger.
coco_map = 25.8
