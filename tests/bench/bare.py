"""mmdet by itself, as its documentation shows it: one model, `inference_detector` on one file after another.

    python -m bench.bare VERSION_FOLDER THREADS IMAGE...

Prints one JSON object: ms of each image after a first look at `WARM_UP` of them, in the faster of `PASSES`
passes, and the peak of resident memory.
"""

import json
import sys
import time
import warnings
from pathlib import Path

from bench.memory import peak_mb

WARM_UP = 5
PASSES = 2


def main(folder: Path, threads: int, images: list[str]) -> None:
    warnings.simplefilter("ignore")
    import torch
    from mmdet.apis import inference_detector, init_detector

    from labelloop.detector import load_weights

    torch.set_num_threads(threads)
    model = init_detector(str(folder / "config.py"), device="cpu")
    model.load_state_dict(load_weights(folder / "weights.pth"))
    for image in images[:WARM_UP]:
        inference_detector(model, image)

    def look(image: str) -> float:
        began = time.perf_counter()
        inference_detector(model, image)
        return 1000 * (time.perf_counter() - began)

    passes = [[look(image) for image in images] for _ in range(PASSES)]
    print(json.dumps({"ms": min(passes, key=sum), "peak_mb": peak_mb()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
