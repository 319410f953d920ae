# VarifocalNet with a ResNet-50 and deformable convolutions (33 M parameters): for a GPU.
from labelloop.detector import mmdet_config

_base_ = mmdet_config("vfnet/vfnet_r50_fpn_mdconv_c3-c5_mstrain_2x_coco.py")

# 400 iterations at 40 labelled images.
loop = dict(iterations=400)

data = dict(samples_per_gpu=4)
# mmdet's rate, for a quarter of its batch.
optimizer = dict(lr=0.0025)
optimizer_config = dict(_delete_=True, grad_clip=dict(max_norm=35, norm_type=2))
# The licence of the published weights, as Hugging Face writes it; `make model` passes it on.
weights_licence = "apache-2.0"
