# YOLOX-tiny (5 M parameters).
from labelloop.detector import mmdet_config

_base_ = mmdet_config("yolox/yolox_tiny_8x8_300e_coco.py")

loop = dict(train_size=416, iterations=150)

model = dict(input_size=(416, 416), random_size_range=(13, 13))
optimizer = dict(lr=0.005)
