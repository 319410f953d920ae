"""Loads a version of the registry as a detector, which finds bounding boxes in images."""

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from labelloop import graph, mmdet_model, precision
from labelloop.boxes import Boxes
from labelloop.errors import Explained
from labelloop.files import sha256_file
from labelloop.halving import BatchSize, in_batches
from labelloop.heads import yolox_layers
from labelloop.images import Pixels
from labelloop.instant import HEAD, champion_of
from labelloop.labels import LabelConfig, LabelMap
from labelloop.mirrored import mirror, mirror_back, together
from labelloop.mmdet_model import MAX_BOXES, MIN_SCORE
from labelloop.raw_boxes import RawBoxes, of_batch, of_yolox
from labelloop.registry import Card, RegistryError
from labelloop.settings import Settings
from labelloop.yolox import Yolox

if TYPE_CHECKING:
    from mmcv import Config

log = logging.getLogger(__name__)


class DetectorError(Explained):
    """There is no such detector in configs/detectors/."""


def mmdet_config(name: str) -> str:
    """The path of a config that mmdet installs, e.g. "yolox/yolox_nano_8x8_300e_coco.py"; for `_base_` in
    configs/detectors."""
    import mmdet

    return str(Path(mmdet.__file__).parent / ".mim" / "configs" / name)


def load_detector_config(name: str, settings: Settings) -> "Config":
    """The mmdet config of configs/detectors/<name>.py.

    Raises:
        DetectorError: there is no such file; the message lists the detectors.
    """
    from mmcv import Config

    folder = settings.configs_dir / "detectors"
    path = folder / f"{name}.py"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.py")))
        raise DetectorError(f"DETECTOR={name!r}: there is no {path}; choose auto or one of {known}")
    return Config.fromfile(str(path))


def look_of(config: "Config") -> int:
    """The long side, in pixels, at which a config's detector looks at an image."""
    sides = [max(step["img_scale"]) for step in config.data.test.pipeline if "img_scale" in step]
    if not sides:
        raise DetectorError("the detector's test pipeline has no img_scale")
    return int(max(sides))


def set_look(config: "Config", side: int) -> None:
    """Has a config's detector look at images at another size."""
    for step in config.data.test.pipeline:
        if "img_scale" in step:
            step["img_scale"] = (side, side)


def load_weights(path: Path) -> dict[str, Any]:
    """The state_dict in a checkpoint. Only tensors are read, and nothing in the file is executed.

    Raises:
        RegistryError: the file cannot be read this way.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise RegistryError(f"{path} holds no weights that can be read: {error}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise RegistryError(f"{path} holds a {type(content).__name__}, not a state_dict")
    return state


@dataclass(frozen=True)
class Detector:
    """A loaded model. Only one thread at a time may call `predict`.

    model: mmdet's detector in eval mode. classes: the names that its labels index. prepare: turns an image
    into what mmdet collates. card: None for a model outside the registry. sizes: of its batches.
    """

    model: Any
    classes: tuple[str, ...]
    prepare: Callable[[Pixels], dict[str, Any]]
    card: Card | None = None
    sizes: BatchSize = field(default_factory=BatchSize)

    @classmethod
    def load(cls, folder: Path, device: str | None = None) -> "Detector":
        """Loads a version's folder: config.py, card.json, weights.pth, or on a CPU its graph if it has one.

        An instant version's folder has only a head, for the network of the version upon which it was learnt.

        device: by default the GPU if there is one.

        Raises:
            RegistryError: a file is missing or damaged; the message names it.
        """
        device = device or _fastest_device()
        if (folder / HEAD).is_file():
            return cls._of_head(folder, device)
        if device == "cpu" and (folder / graph.XML).exists():
            try:
                return cls.of_graph(folder)
            except graph.GraphError as error:
                log.warning("%s; the network itself serves, at a third of the speed", error)
        card, config = _read(folder)
        weights = load_weights(folder / "weights.pth")
        return cls.build(config, weights, card.classes, device, card, str(folder))

    @classmethod
    def of_graph(cls, folder: Path) -> "Detector":
        """Loads a version's folder for the CPU, with its graph in place of the network.

        The network is not built at all, since building it and reading its weights would delay requests while
        versions are swapped.

        Raises:
            RegistryError: card or config are missing or damaged.
            GraphError: the graph is missing, damaged or changed, or no detector can be built around it.
        """
        import torch

        card, config = _read(folder)
        for name in graph.FILES:
            digest = card.sha256.get(name)
            if digest and (not (folder / name).is_file() or sha256_file(folder / name) != digest):
                raise graph.GraphError(f"{folder / name} is not what it was when the version was written")
        try:
            model = mmdet_model.build_model(graph.without_network(config), "cpu")
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise graph.GraphError(f"{folder}: not to be built without its network: {reason}") from error
        graph.attach(model, folder, torch.get_num_threads(), side=_side(model))
        return cls(model, tuple(card.classes), mmdet_model.preparation(config), card)

    @classmethod
    def _of_head(cls, folder: Path, device: str) -> "Detector":
        """Loads an instant version's folder."""
        import torch

        card = _read_card(folder)
        base = folder.parent.parent / champion_of(card.version)
        config, head = _read_config(base), load_weights(folder / HEAD)
        config.model.bbox_head.num_classes = len(card.classes)
        if card.look is not None:
            set_look(config, card.look)
        if device == "cpu" and (base / graph.XML).exists():
            try:
                model = mmdet_model.build_model(graph.without_network(config), "cpu")
                _fill(model, head, folder)
                layers = yolox_layers(model.bbox_head)
                graph.attach(model, base, torch.get_num_threads(), layers, _side(model))
                return cls(model, tuple(card.classes), mmdet_model.preparation(config), card)
            except graph.GraphError as error:
                log.warning("%s: %s; the network itself serves, at a third of the speed", folder, error)
        weights = {**load_weights(base / "weights.pth"), **head}
        return cls.build(config, weights, card.classes, device, card, str(folder), _read_card(base))

    @classmethod
    def build(
        cls,
        config: "Config",
        weights: dict[str, Any],
        classes: Sequence[str],
        device: str | None = None,
        card: Card | None = None,
        name: str = "model",
        champion: Card | None = None,
    ) -> "Detector":
        """A detector from a config and a state_dict that fits it.

        champion: of an instant version, the card of the version whose backbone and neck it has.

        Raises:
            RegistryError: the weights do not fit the config.
        """
        device = device or _fastest_device()
        model = mmdet_model.build_model(config, device)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise RegistryError(f"{name}: the weights do not fit the config: {reason}") from error
        precision.prepare_to_serve(model, champion or card, device, with_head=champion is None)
        return cls(model, tuple(classes), mmdet_model.preparation(config), card)

    @staticmethod
    def preparation(config: "Config") -> Callable[[Pixels], dict[str, Any]]:
        """A function from an image to what mmdet collates, by a config's test pipeline."""
        return mmdet_model.preparation(config)

    @property
    def version(self) -> str:
        return self.card.version if self.card else ""

    def label_map(self, config: LabelConfig) -> LabelMap:
        """The label of the project that each of the model's classes becomes."""
        return LabelMap.build(self.classes, config, trained=self.card is not None and self.card.trained)

    @property
    def device(self) -> Any:
        """The torch.device that the model is on."""
        return next(self.model.parameters()).device

    @property
    def batch_size(self) -> int:
        """How many images go through the model at once."""
        return self.sizes.on(self.device)

    def predict(self, images: Sequence[Pixels]) -> list[Boxes]:
        """Boxes of each image, in the images' order.

        images: (height, width, 3) uint8, blue-green-red. Boxes are in pixels of the image and clipped to it,
        their labels index `classes`. They have scores of at least MIN_SCORE, highest first, and there are at
        most MAX_BOXES per image.
        """
        found: list[Boxes] = []
        for batch, results in in_batches(images, self.sizes, self.device, self._seen):
            found += [_best(boxes, image) for boxes, image in zip(results, batch, strict=True)]
        return found

    def looking_once(self) -> "Detector":
        """The same without a look at the mirror image."""
        if self.card is None or not self.card.mirrored:
            return self
        return replace(self, card=self.card.model_copy(update={"mirrored": False}))

    def raw(self, images: Sequence[Pixels]) -> list[RawBoxes]:
        """Every box of each image, in the images' order, before doubles and low scores are dropped.

        images: as for `predict`. Boxes are in pixels of the image and may reach out of it. They are of one
        look, since a person waits for them. Of detectors of several stages there is no more than `predict`
        gives by one look.
        """
        found: list[RawBoxes] = []
        for group, raw in in_batches(images, self.sizes, self.device, self._raw):
            if raw is None:
                seen = self.looking_once().predict(group)
                raw = [RawBoxes.of_boxes(boxes, len(self.classes)) for boxes in seen]
            found += raw
        return found

    def both(self, image: Pixels) -> tuple[Boxes, RawBoxes]:
        """What `predict` and `raw` give for an image, which a YOLOX on a CPU looks at once for both."""
        import torch

        if self._yolox is None:
            return self.predict([image])[0], self.raw([image])[0]
        with torch.no_grad():
            maps, factors = self._yolox.seen([image])
            found, [raw] = self._yolox.boxes(maps, factors), of_yolox(self.model.bbox_head, maps, factors)
        [boxes] = self._with_mirrored([image], found)
        return _best(boxes, image), raw

    @cached_property
    def _yolox(self) -> Yolox | None:
        return Yolox.of(self.model) if self.device.type == "cpu" else None

    def _seen(self, images: Sequence[Pixels]) -> list[Boxes]:
        return self._with_mirrored(images, self._boxes(images))

    def _with_mirrored(self, images: Sequence[Pixels], found: list[Boxes]) -> list[Boxes]:
        """What was found in the images, put together with what is found in their mirror images where the
        version looks at these too.
        """
        if self.card is None or not self.card.mirrored:
            return found
        others = self._boxes([mirror(image) for image in images])
        return [
            together(one, mirror_back(other, image.shape[1]))
            for one, other, image in zip(found, others, images, strict=True)
        ]

    def _boxes(self, images: Sequence[Pixels]) -> list[Boxes]:
        """What the model finds, of a YOLOX on a CPU in less time."""
        import torch

        if self._yolox is None:
            return [_boxes_of(rows) for rows in self._infer(images)]
        with torch.no_grad():
            return self._yolox.predict(images)

    def _raw(self, images: Sequence[Pixels]) -> list[RawBoxes] | None:
        import torch

        with torch.no_grad():
            return of_batch(self.model, self._collated(images), len(self.classes))

    def _infer(self, images: Sequence[Pixels]) -> Any:
        """Does what mmdet.apis.inference_detector does, but without rebuilding the pipeline on every call."""
        import torch

        batch = self._collated(images)
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.model(return_loss=False, rescale=True, **batch)

    def _collated(self, images: Sequence[Pixels]) -> dict[str, Any]:
        """A batch on the model's device, as mmdet's detectors take it."""
        from mmcv.parallel import collate, scatter

        prepared = [self.prepare(image) for image in images]
        batch: dict[str, Any] = collate(prepared, samples_per_gpu=len(prepared))
        for key in ("img_metas", "img"):
            batch[key] = [container.data[0] for container in batch[key]]
        return scatter(batch, [self.device])[0] if self.device.type == "cuda" else batch


def _read(folder: Path) -> "tuple[Card, Config]":
    return _read_card(folder), _read_config(folder)


def _read_card(folder: Path) -> Card:
    try:
        return Card.model_validate_json((folder / "card.json").read_bytes())
    except Exception as error:
        raise RegistryError(f"{folder}: the version cannot be read: {error}") from error


def _read_config(folder: Path) -> "Config":
    from mmcv import Config

    try:
        return Config.fromfile(str(folder / "config.py"))
    except Exception as error:
        raise RegistryError(f"{folder}: the version cannot be read: {error}") from error


def _side(model: Any) -> int | None:
    """See `graph.load`."""
    quick = Yolox.of(model)
    return None if quick is None else quick.side


def _fill(model: Any, head: dict[str, Any], folder: Path) -> None:
    """Gives a detector's head its weights. Raises RegistryError: they do not fit."""
    try:
        left = model.load_state_dict(head, strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise RegistryError(f"{folder / HEAD}: the weights do not fit the head: {reason}") from error
    missing = [key for key in left.missing_keys if key.startswith("bbox_head.")]
    if missing or left.unexpected_keys:
        raise RegistryError(
            f"{folder / HEAD}: not the head of this detector: {[*missing, *left.unexpected_keys][0]}"
        )


def _fastest_device() -> str:
    import torch

    return "cuda:0" if torch.cuda.is_available() else "cpu"


def _boxes_of(per_class: Sequence[Any]) -> Boxes:
    """The boxes in mmdet's result, which has one (n, 5) array of x1 y1 x2 y2 score per class."""
    rows = np.concatenate([np.asarray(rows, dtype=np.float32).reshape(-1, 5) for rows in per_class])
    labels = np.repeat(np.arange(len(per_class)), [len(rows) for rows in per_class])
    return Boxes.of(rows[:, :4], rows[:, 4], labels)


def _best(found: Boxes, image: Pixels) -> Boxes:
    """Clipped to the image, highest scores first; of equal scores the lower label first."""
    height, width = image.shape[:2]
    boxes = found.select(np.argsort(found.labels, kind="stable")).clip(width, height)
    best = np.argsort(-boxes.scores, kind="stable")[:MAX_BOXES]
    return boxes.select(best[boxes.scores[best] >= MIN_SCORE])
