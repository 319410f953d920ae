"""The classes of the starting models, which are COCO's, and the words that people use for them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

# fmt: off
CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard",
    "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase",
    "scissors", "teddy bear", "hair drier", "toothbrush",
)
# fmt: on

# Words for several classes, or other names of one class. raccoon's entry is measured:
# docs/how-to/own-labels.md.
WORDS = {
    "vehicle": "car,truck,bus,motorcycle",
    "automobile": "car",
    "van": "car,truck",
    "lorry": "truck",
    "bike": "bicycle",
    "two-wheeler": "bicycle,motorcycle",
    "motorbike": "motorcycle",
    "aircraft": "airplane",
    "plane": "airplane",
    "aeroplane": "airplane",
    "ship": "boat",
    "vessel": "boat",
    "people": "person",
    "human": "person",
    "pedestrian": "person",
    "man": "person",
    "woman": "person",
    "child": "person",
    "worker": "person",
    "player": "person",
    "animal": "bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe",
    "pet": "cat,dog",
    "livestock": "horse,sheep,cow",
    "cattle": "cow",
    "raccoon": "cat,dog,bear",
    "bag": "backpack,handbag,suitcase",
    "luggage": "backpack,handbag,suitcase",
    "ball": "sports ball",
    "glass": "wine glass,cup",
    "mug": "cup",
    "cutlery": "fork,knife,spoon",
    "fruit": "banana,apple,orange",
    "vegetable": "broccoli,carrot",
    "food": "banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake",
    "furniture": "chair,couch,bed,dining table",
    "seat": "chair,couch,bench",
    "sofa": "couch",
    "table": "dining table",
    "plant": "potted plant",
    "television": "tv",
    "monitor": "tv",
    "screen": "tv,laptop",
    "computer": "laptop",
    "phone": "cell phone",
    "smartphone": "cell phone",
    "fridge": "refrigerator",
    "hydrant": "fire hydrant",
    "hair dryer": "hair drier",
}
CLOSE_ENOUGH = 0.8


def suggestion(label: str, classes: Sequence[str] = CLASSES) -> tuple[str, ...]:
    """The members of `classes` that people may mean by `label`, by WORDS or by its spelling; perhaps none.

    Blanks, hyphens, case and a plural's s are ignored.
    """
    by_key = {_key(word): tuple(names.split(",")) for word, names in WORDS.items()}
    by_key.update({_key(name): (name,) for name in classes})
    wanted = _key(label)
    singular = wanted[:-2] if wanted.endswith(("ses", "xes", "ches", "shes")) else wanted.removesuffix("s")
    close = difflib.get_close_matches(wanted, by_key, n=1, cutoff=CLOSE_ENOUGH)
    for key in (wanted, singular, *close):
        if key in by_key:
            return tuple(name for name in by_key[key] if name in classes)
    return ()


def _key(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())
