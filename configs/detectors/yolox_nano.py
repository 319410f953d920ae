# YOLOX-nano (0.9 M parameters), the default without a GPU.
from labelloop.detector import mmdet_config

_base_ = mmdet_config("yolox/yolox_nano_8x8_300e_coco.py")

loop = dict(train_size=320, iterations=150)

model = dict(input_size=(320, 320), random_size_range=(10, 10))
optimizer = dict(lr=0.005)
