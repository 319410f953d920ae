# YOLOX-s (9 M parameters), the default with a GPU.
from labelloop.detector import mmdet_config

_base_ = mmdet_config("yolox/yolox_s_8x8_300e_coco.py")

loop = dict(train_size=640, iterations=300)

model = dict(input_size=(640, 640), random_size_range=(20, 20))
# MixUp lays one image over another; too much for a fine-tune on few images.
data = dict(train=dict(skip_type_keys=["MixUp"]))
optimizer = dict(lr=0.005)
