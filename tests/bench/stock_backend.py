"""The backend that labelloop replaces: label-studio-ml's own server around a class as its users write it.

The model is built when the class is made, which the stock manager does at every /setup; images go through it
one by one.

    python -m bench.stock_backend VERSION_FOLDER IMAGES_ROOT THREADS PORT
"""

import sys
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from label_studio_ml.api import init_app
from label_studio_ml.model import LabelStudioMLBase

SCORE_THRESHOLD = 0.3
FOLDER, ROOT = Path(sys.argv[1]), Path(sys.argv[2])


class StockDetector(LabelStudioMLBase):  # type: ignore[misc]
    """One of mmdet's detectors behind Label Studio."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        from mmdet.apis import init_detector

        from labelloop.detector import load_weights

        self.model = init_detector(str(FOLDER / "config.py"), device="cpu")
        self.model.load_state_dict(load_weights(FOLDER / "weights.pth"))
        self.model_version = "stock"

    def predict(self, tasks: list[dict[str, Any]], **kwargs: Any) -> list[dict[str, Any]]:
        return [self._predict(task) for task in tasks]

    def _predict(self, task: dict[str, Any]) -> dict[str, Any]:
        import mmcv
        from mmdet.apis import inference_detector

        path = str(ROOT / parse_qs(urlsplit(task["data"]["image"]).query)["d"][0])
        height, width = mmcv.imread(path).shape[:2]
        results, scores = [], []
        for name, rows in zip(_coco_names(), inference_detector(self.model, path), strict=True):
            for x1, y1, x2, y2, score in rows.tolist():
                if score < SCORE_THRESHOLD:
                    continue
                scores.append(score)
                results.append(
                    {
                        "from_name": "label",
                        "to_name": "image",
                        "type": "rectanglelabels",
                        "value": {
                            "rectanglelabels": [name],
                            "x": 100 * x1 / width,
                            "y": 100 * y1 / height,
                            "width": 100 * (x2 - x1) / width,
                            "height": 100 * (y2 - y1) / height,
                        },
                        "score": score,
                    }
                )
        return {"result": results, "score": sum(scores) / len(scores) if scores else 0.0}


def _coco_names() -> tuple[str, ...]:
    from mmdet.datasets import CocoDataset

    return tuple(CocoDataset.CLASSES)


if __name__ == "__main__":
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(int(sys.argv[3]))
    StockDetector()  # loads the libraries: the first /setup would time out
    init_app(model_class=StockDetector).run(host="127.0.0.1", port=int(sys.argv[4]))
