"""Makes a folder with a version of the model that runs without labelloop, and checks it before anybody gets
it.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np

from labelloop.detector import Detector, DetectorError, load_detector_config, load_weights
from labelloop.files import fsync_dir, link_or_copy, write_text
from labelloop.images import SUFFIXES, ImageError, Pixels, read_image
from labelloop.registry import Card, ProjectModels
from labelloop.settings import Settings
from trainer.dataset.snapshot import Snapshot
from trainer.judging.detections import load_detector
from trainer.judging.evaluate import evaluate
from trainer.judging.standing import standing
from trainer.rounds.table import Rounds
from trainer.takeaway import int8
from trainer.takeaway.card import UNKNOWN_LICENCE, Told, model_json, readme
from trainer.takeaway.check import Served, Taken, compare
from trainer.takeaway.errors import CannotTake
from trainer.takeaway.forms import ABOUT, Format, page, place
from trainer.takeaway.graph_files import to_openvino, write_graph
from trainer.takeaway.whole import Whole
from trainer.takeaway.wishes import Wish
from trainer.training.gap import MAX_PX, MAX_SCORE, MIN_IOU, Gap
from trainer.words import plural

MOST_CHECKED = 100
FAINT = 0.05
"""From this score on boxes are compared where none would be shown."""
UNLABELLED_CHECKED = 16
CANDIDATES = (300, 1000, 3000)
PER_BOX = 12
"""A detector proposes an object about so often before one box of it is left."""

Say = Callable[[str], None]


class Making:
    """One wish at work."""

    def __init__(
        self, wish: Wish, models: ProjectModels, rounds: Rounds, settings: Settings, say: Say
    ) -> None:
        self._wish, self._settings, self._say = wish, settings, say
        self._folder = models.folder(wish.version)
        self._card = models.check(wish.version)
        self._snapshot = _snapshot(models, rounds, wish.project)
        names = wish.config.names
        least = self._card.thresholds(
            wish.config.names_in(self._card.score_thresholds), settings.score_threshold
        )
        self._least = least
        self._thresholds = {name: round(float(value), 4) for name, value in zip(names, least, strict=True)}

    def run(self, target: Path) -> str:
        """Fills `target`, all of it or nothing; what was there is replaced. Returns: what the check found, in
        words.

        Raises:
            CannotTake: the detector or the check forbids it.
        """
        self._wish.require_possible()
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as name:
            made = Path(name) / "made"
            made.mkdir()
            checked = self._fill(made)
            fsync_dir(made)
            if target.exists():
                target.rename(Path(name) / "before")
            made.rename(target)
        fsync_dir(target.parent)
        return checked

    def _fill(self, folder: Path) -> str:
        self._say("loading the version")
        detector = self._network()
        if not detector.label_map(self._wish.config).knows_any:
            raise CannotTake(
                f"{self._wish.version} knows none of the project's labels, so it could find nothing"
            )
        told = self._told(detector)
        served = Served(load_detector(self._folder, self._settings), self._wish.config)
        told = self._checked(folder, detector, served, told)
        if self._wish.int8:
            told = self._in_int8(folder, detector, told)
        sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
        write_text(folder / "README.md", readme(told, sizes))
        return told.int8 or told.checked

    def _network(self) -> Detector:
        """The version's network itself; what serves it on a processor may be a graph."""
        import torch
        from mmcv import Config

        torch.set_num_threads(self._settings.threads)
        config = Config.fromfile(str(self._folder / "config.py"))
        weights = load_weights(self._folder / "weights.pth")
        return Detector.build(config, weights, self._card.classes, "cpu", self._card, str(self._folder))

    def _told(self, detector: Detector) -> Told:
        wish = self._wish
        scale = next(step for step in detector.model.cfg.data.test.pipeline if "img_scale" in step)[
            "img_scale"
        ]
        return Told(
            title=wish.title,
            card=self._card,
            config=wish.config,
            form=wish.form,
            thresholds=self._thresholds,
            licence=licence(self._card, self._settings),
            look=scale,
            checked="",
            most=None,
        )

    def _checked(self, folder: Path, detector: Detector, served: Served, told: Told) -> Told:
        """The folder without its README, whose boxes are the backend's.

        Raises:
            CannotTake: they are others, however many candidates are looked at.
        """
        gap = Gap()
        for most in self._ladder():
            for path in folder.iterdir():
                path.unlink()
            self._say(f"writing it as {told.form}")
            self._write(folder, detector, replace(told, most=most))
            self._say("comparing it with what the backend shows")
            gap = self._compared(served, Taken(folder, self._card), batches=most is not None)
            if gap.same:
                return replace(told, most=most, checked=str(gap))
        wanted = f"an IoU of {MIN_IOU} (or edges within {MAX_PX} px) and scores within {MAX_SCORE} are wanted"
        raise CannotTake(
            f"{self._wish.version} as {told.form} does not find what the backend shows, so it is not handed "
            f"out: {gap}; {wanted}"
        )

    def _compared(self, served: Served, taken: Taken, batches: bool) -> Gap:
        """Raises CannotTake: there is nothing to compare."""
        gap = compare(served, taken, self._images(), self._least, batches)
        if gap.images and not gap.boxes:
            gap = compare(served, taken, self._images(), np.full_like(self._least, FAINT), batches)
        if not gap.images:
            raise CannotTake(
                "there is no image to check it on: no hold-out, and no file in volumes/images can be read"
            )
        if not gap.boxes:
            raise CannotTake(
                f"{self._wish.version} finds nothing on {plural(gap.images, 'image')}: nothing to compare"
            )
        return gap

    def _ladder(self) -> Sequence[int | None]:
        """How many candidates are looked at, one after the other until that suffices."""
        if self._wish.form is Format.MMDET:
            return (None,)
        crowd = (
            max((len(image.labels) for image in self._snapshot.images), default=0) if self._snapshot else 0
        )
        enough = [most for most in CANDIDATES if most >= PER_BOX * crowd]
        return enough or CANDIDATES[-1:]

    def _write(self, folder: Path, detector: Detector, told: Told) -> None:
        if told.most is None:
            for name in ("config.py", "weights.pth"):
                link_or_copy(self._folder / name, folder / name)
        else:
            write_graph(self._whole(detector, told.most), told.form, folder)
        write_text(folder / "model.json", model_json(told, detector))
        write_text(folder / "labels.txt", "".join(f"{name}\n" for name in self._wish.config.names))
        write_text(folder / "predict.py", page(told.form))

    def _whole(self, detector: Detector, most: int) -> Whole:
        """Raises CannotTake: the detector cannot be put into a graph; the message names the way out."""
        try:
            return Whole(detector, self._wish.config, most).eval()
        except CannotTake as error:
            raise CannotTake(
                f"{self._card.detector} cannot be had as {self._wish.form}: {error}. FORMAT=mmdet takes it"
            ) from error

    def _in_int8(self, folder: Path, detector: Detector, told: Told) -> Told:
        """Raises CannotTake: there is nothing to calibrate or score on, or it costs too much."""
        snapshot = self._snapshot
        if snapshot is None or not len(snapshot.train) or not len(snapshot.holdout):
            raise CannotTake(
                "INT8=1 wants labelled images to calibrate and to score on; they come with the first round"
            )
        before = self._score(Taken(folder, self._card), snapshot)
        self._say(f"calibrating on {min(int8.CALIBRATION, len(snapshot.train))} labelled images")
        home = self._settings.labelloop_home
        onnx = folder / ABOUT[Format.ONNX].model
        if told.form is Format.OPENVINO:
            for name in ("model.xml", "model.bin"):
                (folder / name).unlink()
            assert told.most is not None
            write_graph(self._whole(detector, told.most), Format.ONNX, folder)
        int8.quantise(onnx, [home / image.file for image in islice(snapshot.train, int8.CALIBRATION)])
        if told.form is Format.OPENVINO:
            to_openvino(folder)
        after = self._score(Taken(folder, self._card), snapshot)
        words = f"mAP {before:.3f} → {after:.3f} on {len(snapshot.holdout)} hold-out images"
        if before - after > int8.MAX_LOSS:
            raise CannotTake(f"in 8 bits it loses more than {int8.MAX_LOSS}: {words}; take it without INT8=1")
        told = replace(told, int8=words)
        write_text(folder / "model.json", model_json(told, detector))
        return told

    def _score(self, taken: Taken, snapshot: Snapshot) -> float:
        self._say("scoring it on the hold-out")
        found = evaluate(cast(Detector, taken), snapshot, self._settings, lambda fraction, words: None)
        if found.mAP is None:
            raise CannotTake("INT8=1 wants a hold-out with boxes to be scored on")
        return found.mAP

    def _images(self) -> Iterator[Pixels]:
        """The hold-out's images, some of them where there are many; else some of volumes/images."""
        settings = self._settings
        if self._snapshot is not None and len(self._snapshot.holdout):
            files = [settings.labelloop_home / image.file for image in self._snapshot.holdout]
            step = -(-len(files) // MOST_CHECKED)
            files = files[::step]
        else:
            below = (
                path for path in sorted(settings.images_dir.rglob("*")) if path.suffix.lower() in SUFFIXES
            )
            files = list(islice(below, UNLABELLED_CHECKED))
        for file in files:
            with suppress(ImageError):
                yield read_image(file)


def _snapshot(models: ProjectModels, rounds: Rounds, project: int) -> Snapshot | None:
    """The newest round's that is over."""
    todays = standing(models, rounds, project).round
    if todays is None:
        return None
    try:
        return Snapshot.load(rounds.folder(todays.id))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def licence(card: Card, settings: Settings) -> str:
    """The licence of a version's starting weights, which its detector's file names, as Hugging Face writes
    it.
    """
    try:
        return str(load_detector_config(card.detector, settings).get("weights_licence", UNKNOWN_LICENCE))
    except DetectorError:
        return UNKNOWN_LICENCE


def make(wish: Wish, models: ProjectModels, rounds: Rounds, settings: Settings, say: Say) -> tuple[Path, str]:
    """Makes the folder at its place below volumes/rounds/exports. Returns: it, and what the check found.

    Raises:
        CannotTake: see Making. RegistryError: the version is missing or damaged.
    """
    wish.require_possible()
    target = place(settings.rounds_dir, wish.project, wish.version, wish.form, wish.int8)
    checked = Making(wish, models, rounds, settings, say).run(target)
    return target, checked
