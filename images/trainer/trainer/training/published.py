"""Where detectors' starting weights are published."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """Where a detector's COCO weights are published.

    sha256: of the file, or its first digits; empty when its makers tell none, and then it isn't downloaded:
    nothing could tell it from another file.
    """

    url: str
    sha256: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]

    @property
    def without_checksum(self) -> str | None:
        """Why it isn't downloaded; None if it is."""
        if self.sha256:
            return None
        return f"{self.url} comes without a checksum, so it isn't downloaded by itself"


# mmdet's model zoo gives only the first eight digits of a file's sha256, at the end of its name.
_ZOO = "https://download.openmmlab.com/mmdetection/v2.0"
PUBLISHED: Mapping[str, Published] = {
    "yolox_nano": Published(
        "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/yolox_nano.pth",
        "cd28f55fbbc1829f99d9ac9b38a16d259a22889739c8728ea877610201feff7b",
    ),
    "yolox_tiny": Published(
        f"{_ZOO}/yolox/yolox_tiny_8x8_300e_coco/yolox_tiny_8x8_300e_coco_20211124_171234-b4047906.pth",
        "b4047906",
    ),
    "yolox_s": Published(
        f"{_ZOO}/yolox/yolox_s_8x8_300e_coco/yolox_s_8x8_300e_coco_20211121_095711-4592a793.pth", "4592a793"
    ),
    "fcos_r50": Published(
        f"{_ZOO}/fcos/fcos_r50_caffe_fpn_gn-head_1x_coco/fcos_r50_caffe_fpn_gn-head_1x_coco-821213aa.pth",
        "821213aa",
    ),
    "yolox_m": Published(
        "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/yolox_m.pth", ""
    ),
    "yolox_l": Published(
        f"{_ZOO}/yolox/yolox_l_8x8_300e_coco/yolox_l_8x8_300e_coco_20211126_140236-d3bd2b23.pth", "d3bd2b23"
    ),
    "faster_rcnn_r50": Published(
        f"{_ZOO}/faster_rcnn/faster_rcnn_r50_fpn_mstrain_3x_coco/"
        "faster_rcnn_r50_fpn_mstrain_3x_coco_20210524_110822-e10bd31c.pth",
        "e10bd31c",
    ),
    "vfnet_r50": Published(
        f"{_ZOO}/vfnet/vfnet_r50_fpn_mdconv_c3-c5_mstrain_2x_coco/"
        "vfnet_r50_fpn_mdconv_c3-c5_mstrain_2x_coco_20201027pth-6879c318.pth",
        "6879c318",
    ),
}
