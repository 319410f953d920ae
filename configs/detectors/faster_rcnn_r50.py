# Faster R-CNN with a ResNet-50 (42 M parameters), a detector of two stages: for a GPU.
from labelloop.detector import mmdet_config

_base_ = mmdet_config("faster_rcnn/faster_rcnn_r50_fpn_1x_coco.py")

# 400 iterations at 40 labelled images.
loop = dict(iterations=400)

data = dict(samples_per_gpu=4)
# mmdet's rate, for a quarter of its batch.
optimizer = dict(lr=0.005)
optimizer_config = dict(_delete_=True, grad_clip=dict(max_norm=35, norm_type=2))
# The licence of the published weights, as Hugging Face writes it; `make model` passes it on.
weights_licence = "apache-2.0"
