"""Drives a running stack through one round on a COCO folder, as an annotator would, and scores what Label
Studio then holds.

    closed_loop.py config  --coco DIR [--predicted raccoon=cat,dog,bear]    prints a label config for the
    folder's categories
    closed_loop.py prelabels --coco DIR --split test                        scores the predictions that are
    there
    closed_loop.py round   --coco DIR --train 40                            import, correct 40 images, `make
    retrain`, score

DIR holds images/ and one COCO json a split. The stack is the one in the current folder: its .env, its
volumes, its make.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import quoteattr

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from support.unpredicted import without_prediction_of

from labelloop.studio import Studio
from labelloop.task_filters import UNLABELLED

IMPORT_S, PRELABEL_S = 300, 900


def read_env(path: Path) -> dict[str, str]:
    lines = (
        line.split("=", 1)
        for line in path.read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )
    return {key.strip(): value.strip().strip("'\"") for key, value in lines}


class Loop:
    """The stack in the current folder, and the COCO folder that it labels."""

    def __init__(self, coco_dir: Path, project: int) -> None:
        env = read_env(Path(".env"))
        self.studio = Studio(f"http://127.0.0.1:{env.get('PORT', '8080')}", env["API_TOKEN"])
        self.coco_dir = coco_dir
        self.project = project

    def truth(self, split: str) -> COCO:
        with redirect_stdout(StringIO()):
            return COCO(str(self.coco_dir / f"{split}.json"))

    def drop_images(self, names: Iterable[str]) -> None:
        for name in names:
            target = Path("volumes/images") / self.coco_dir.name / name
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.coco_dir / "images" / name, target)

    def tasks(self, fields: str = "task_only") -> dict[str, dict[str, Any]]:
        """Tasks by the image's file name."""
        rows = self.studio.iter_tasks(self.project, fields=fields, page_size=100)
        return {Path(parse_qs(urlsplit(row["data"]["image"]).query)["d"][0]).name: row for row in rows}

    def wait_imported(self, names: set[str]) -> None:
        wait_until(
            lambda: names <= set(self.tasks()),
            IMPORT_S,
            f"tasks for {len(names)} images",
        )

    def wait_prelabelled(self) -> None:
        """Until every unlabelled task has a prediction of the version that the project now shows."""

        def waiting() -> bool:
            version = self.studio.project(self.project)["model_version"]
            return bool(version) and not self.studio.count_tasks(
                self.project, UNLABELLED, without_prediction_of(version)
            )

        wait_until(waiting, PRELABEL_S, "pre-labels of the current version")

    def correct(self, names: Iterable[str], split: str) -> None:
        """Submits the true boxes of each image."""
        truth = self.truth(split)
        labels = {category["id"]: category["name"] for category in truth.loadCats(truth.getCatIds())}
        tasks = self.tasks()
        by_name = {image["file_name"]: image for image in truth.imgs.values()}
        for name in names:
            image = by_name[name]
            boxes = truth.loadAnns(truth.getAnnIds(imgIds=[image["id"]]))
            results = [region(box["bbox"], labels[box["category_id"]], image) for box in boxes]
            self.studio.request(
                "POST",
                f"/api/tasks/{tasks[name]['id']}/annotations/",
                json={"result": results},
            )

    def score(self, split: str, threshold: float = 0.0) -> dict[str, Any]:
        """AP and AP50 of the newest prediction of each of a split's images, as Label Studio holds it."""
        truth = self.truth(split)
        categories = {category["name"]: category["id"] for category in truth.loadCats(truth.getCatIds())}
        tasks = self.tasks(fields="all")
        detections, versions = [], set()
        for image in truth.imgs.values():
            prediction = max(tasks[image["file_name"]]["predictions"], key=lambda row: row["id"])
            versions.add(prediction["model_version"])
            for result in prediction["result"]:
                if result["score"] >= threshold:
                    detections.append(detection(result, image, categories))
        ap, ap50 = average_precision(truth, detections)
        return {
            "split": split,
            "images": len(truth.imgs),
            "versions": sorted(versions),
            "boxes": len(detections),
            "AP": round(ap, 4),
            "AP50": round(ap50, 4),
        }


def average_precision(truth: COCO, detections: list[dict[str, Any]]) -> tuple[float, float]:
    """AP over IoU 0.50:0.95 and AP at 0.50."""
    if not detections:
        return 0.0, 0.0
    with redirect_stdout(StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def region(bbox: list[float], label: str, image: dict[str, Any]) -> dict[str, Any]:
    x, y, width, height = bbox
    w, h = image["width"], image["height"]
    return {
        "from_name": "label",
        "to_name": "image",
        "type": "rectanglelabels",
        "original_width": w,
        "original_height": h,
        "value": {
            "x": 100 * x / w,
            "y": 100 * y / h,
            "width": 100 * width / w,
            "height": 100 * height / h,
            "rotation": 0,
            "rectanglelabels": [label],
        },
    }


def detection(result: dict[str, Any], image: dict[str, Any], categories: dict[str, int]) -> dict[str, Any]:
    value = result["value"]
    w, h = image["width"] / 100, image["height"] / 100
    return {
        "image_id": image["id"],
        "category_id": categories[value["rectanglelabels"][0]],
        "bbox": [
            value["x"] * w,
            value["y"] * h,
            value["width"] * w,
            value["height"] * h,
        ],
        "score": result["score"],
    }


def wait_until(done: Any, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(2)


def label_config(coco: COCO, predicted: dict[str, str]) -> str:
    names = [category["name"] for category in coco.loadCats(coco.getCatIds())]
    extra = {
        name: f" predicted_values={quoteattr(predicted[name])}" if name in predicted else "" for name in names
    }
    labels = "\n".join(f"    <Label value={quoteattr(name)}{extra[name]}/>" for name in names)
    return (
        '<View>\n  <Image name="image" value="$image"/>\n  <RectangleLabels name="label" toName="image">\n'
        f"{labels}\n  </RectangleLabels>\n</View>\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["config", "prelabels", "round"])
    parser.add_argument("--coco", type=Path, required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument(
        "--train",
        type=int,
        default=40,
        help="how many images of train.json are corrected",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threshold", type=float, default=0.0, help="leave out boxes that score less")
    parser.add_argument("--predicted", action="append", default=[], metavar="LABEL=CLASS,CLASS")
    parser.add_argument("--project", type=int, default=1)
    options = parser.parse_args()
    if options.what == "config":
        with redirect_stdout(StringIO()):
            truth = COCO(str(options.coco / "train.json"))
        print(
            label_config(truth, dict(pair.split("=", 1) for pair in options.predicted)),
            end="",
        )
        return
    loop = Loop(options.coco, options.project)
    scored = {image["file_name"] for image in loop.truth(options.split).imgs.values()}
    trained: list[str] = []
    if options.what == "round":
        names = sorted(image["file_name"] for image in loop.truth("train").imgs.values())
        trained = random.Random(options.seed).sample(names, options.train)
    loop.drop_images(scored | set(trained))
    loop.wait_imported(scored | set(trained))
    loop.wait_prelabelled()
    report: dict[str, Any] = {"before": loop.score(options.split, options.threshold)}
    if options.what == "round":
        loop.correct(trained, "train")
        start = time.monotonic()
        subprocess.run(["make", "retrain"], check=True, stdout=sys.stderr)
        report["retrain_seconds"] = round(time.monotonic() - start)
        loop.wait_prelabelled()
        report["after"] = loop.score(options.split, options.threshold)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
