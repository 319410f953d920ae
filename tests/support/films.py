"""Made pictures of which some are near-duplicates: frames of a film, and copies that were saved anew."""

from io import BytesIO

import cv2
import numpy as np
from PIL import Image

SIDE = 240
STEP = 2  # pixels from frame to frame


def scene(seed: int, side: int = SIDE) -> np.ndarray:
    """(side, side, 3) uint8, unlike every other scene: soft blots of any colour."""
    blots = np.random.default_rng(seed).integers(0, 256, (14, 14, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(blots, (side, side), interpolation=cv2.INTER_CUBIC))


def film(seed: int, frames: int) -> list[np.ndarray]:
    """A camera that pans over a scene, with a black object that runs the other way."""
    wide = scene(seed, SIDE + STEP * frames)
    found = []
    for number in range(frames):
        frame = wide[:SIDE, STEP * number : STEP * number + SIDE].copy()
        left = SIDE // 2 - 3 * number
        frame[60:90, left : left + 30] = 0
        found.append(frame)
    return found


def encoded(frame: np.ndarray, kind: str = "PNG", quality: int = 90, scale: float = 1.0) -> bytes:
    """The picture as a file's content."""
    image = Image.fromarray(frame)
    if scale != 1.0:
        image = image.resize((round(image.width * scale), round(image.height * scale)))
    out = BytesIO()
    image.save(out, kind, quality=quality)
    return out.getvalue()


def boards(count: int) -> list[np.ndarray]:
    """Circuit boards of one make: black lanes on white, everywhere in other places."""
    found = []
    for seed in range(count):
        rng = np.random.default_rng(1000 + seed)
        board = np.full((SIDE, SIDE, 3), 255, np.uint8)
        left = 0
        while left < SIDE:
            width = int(rng.integers(6, 22))
            start = int(rng.integers(0, SIDE // 2)) if rng.random() < 0.3 else 0
            board[start:, left : left + width] = 0
            left += width + int(rng.integers(6, 22))
        for x, y in rng.integers(0, SIDE - 24, (4, 2)):
            board[y : y + 16, x : x + 16] = 255 * int(rng.random() < 0.5)
        found.append(board)
    return found


def moving(seed: int, frames: int) -> list[tuple[np.ndarray, list[tuple[float, float, float, float]]]]:
    """A film with noise in which four striped objects run over a scene in directions of their own; with each
    frame, their boxes in percent.
    """
    rng = np.random.default_rng(500 + seed)
    ground = scene(seed)
    starts = np.array([[40, 40], [150, 50], [50, 150], [160, 160]]) + rng.integers(-10, 11, (4, 2))
    steps = rng.choice([-4, -3, 3, 4], (4, 2))
    sides = rng.integers(18, 34, (4, 2))
    patterns = [rng.integers(0, 256, (6, 6, 3)).astype(np.uint8) for _ in range(4)]
    found = []
    for number in range(frames):
        frame, boxes = ground.copy(), []
        for (x, y), (width, height), pattern in zip(starts + number * steps, sides, patterns, strict=True):
            frame[y : y + height, x : x + width] = cv2.resize(pattern, (int(width), int(height)))
            boxes.append(
                (100 * x / SIDE, 100 * y / SIDE, 100 * (x + width) / SIDE, 100 * (y + height) / SIDE)
            )
        noisy = np.clip(frame.astype(np.int16) + rng.integers(-6, 7, frame.shape), 0, 255)
        found.append((noisy.astype(np.uint8), boxes))
    return found
