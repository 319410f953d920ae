"""A stack that labels balls and crates, with a detector that learns them in minutes on a CPU."""

from support import shapes
from support.stack import Stack

DETECTOR = "yolox_mobilenetv2"
LABEL_CONFIG = "configs/labels/shapes.xml"
# What an operator would write at the end of a detector's file: small images and a quick optimizer, so that
# a round from an ImageNet backbone learns the shapes in two minutes.
_QUICK = """
loop = dict(train_size=128, test_size=128, iterations={iterations})
model.update(input_size=(128, 128), random_size_range=(4, 4))
optimizer = dict(_delete_=True, type="AdamW", lr=0.003, weight_decay=0.05)
"""


def up(
    stack: Stack, iterations: int = 100, timeout: float = 3600, target: str = "up", **settings: object
) -> str:
    """Writes label config and detector, and makes `up`, or another target, with them; its output.

    Nothing is learnt at once unless `settings` say so: the version that serves would change with each submit.

    iterations: of the detector at 40 labels; the setting ITERATIONS wins. From cold, images are built.
    """
    (stack.home / LABEL_CONFIG).write_text(shapes.LABEL_CONFIG)
    detector = stack.home / "configs" / "detectors" / f"{DETECTOR}.py"
    detector.write_text(detector.read_text() + _QUICK.format(iterations=iterations))
    settings = {"INSTANT": "false", **settings}
    return stack.run(
        target, PORT=stack.port, LABEL_CONFIG=LABEL_CONFIG, DETECTOR=DETECTOR, timeout=timeout, **settings
    )
