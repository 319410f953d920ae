# FCOS with a ResNet-50 (32 M parameters): slow without a GPU.
from labelloop.detector import mmdet_config

_base_ = mmdet_config("fcos/fcos_r50_caffe_fpn_gn-head_1x_coco.py")

# 400 iterations at 40 labelled images.
loop = dict(iterations=400)

data = dict(samples_per_gpu=4)
optimizer = dict(lr=0.0025)
# The licence of the published weights, as Hugging Face writes it; `make model` passes it on.
weights_licence = "apache-2.0"
