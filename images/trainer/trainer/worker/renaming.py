"""Renames labels in what the trainer keeps of a project: its versions' cards and its rounds.

Label Studio's part is `provisioner.rename`. Each file is replaced by itself and tells by its names whether it
was, so a run can be killed at any time and started again.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from labelloop.card import Overlaps
from labelloop.errors import Explained
from labelloop.files import write_text
from labelloop.labels import LabelConfig, LabelConfigError, parse_label_config
from labelloop.locks import holding
from labelloop.registry import STARTING_VERSION, Card, ProjectModels, RegistryError
from labelloop.renaming import RenameError, rename_in_config
from trainer.dataset.labelled import LabelledImages, SnapshotImage
from trainer.dataset.reviews import Reviews
from trainer.dataset.snapshot import Snapshot
from trainer.judging import scores
from trainer.judging.evaluate import Evaluation
from trainer.judging.judgement import Judgement
from trainer.judging.matches import ClassMatches
from trainer.rounds.folder import CANDIDATE, SEEN, predictions_file
from trainer.rounds.table import Rounds
from trainer.worker.former import predicted_labels_path
from trainer.worker.prelabel import lock_path

EVERY_ROUND = 1_000_000
LOCK_WAIT_S = 120.0
MADE_ANEW = "renamed"

Names = Mapping[str, str]


class RoundIsOpen(Explained):
    """A round of the project is at work under the old names."""


@dataclass(frozen=True)
class Renamed:
    """How many versions and rounds had one of the old names."""

    versions: int = 0
    rounds: int = 0

    def as_json(self) -> str:
        return json.dumps(asdict(self))


def rename(models: ProjectModels, rounds: Rounds, project_id: int, names: Names, dry: bool) -> Renamed:
    """Renames labels of a project. dry: counts, and changes nothing.

    The backend loads the champion anew. If the champion's classes have changed, all its predictions are made
    anew, since under a label config that was changed before it lacked boxes of these labels.

    Raises:
        RoundIsOpen: a round of the project is at work. Busy: another process is pre-labelling for too long.
    """
    open_round = rounds.open_round(project_id)
    if open_round is not None:
        raise RoundIsOpen(
            f"round {open_round.id} of project {project_id} is {open_round.state}, under the old names; wait "
            f"for its end or `make cancel PROJECT={project_id}`, then type the command again"
        )
    classes = starting_classes(models)
    changed = [*_renamed_rounds(rounds, project_id, names, classes, dry)]
    for folder in sorted((models.path / SEEN).glob("*.*/")):
        _rename_snapshot(folder, names, classes, dry)
    if not dry:
        Reviews(models.path).rename(names)
    cards = {version: card for version, card in _cards(models) if renamed_card(card, names) != card}
    if not dry:
        with holding(lock_path(rounds.root, project_id), LOCK_WAIT_S):
            _rename_versions(models, names, cards, predicted_labels_path(rounds.root, project_id))
    return Renamed(len(cards), len(changed))


def _rename_versions(models: ProjectModels, names: Names, cards: Mapping[str, Card], predicted: Path) -> None:
    """Under the lock of pre-labelling: a run between two of these steps would take predictions under the old
    names for those of the new card.
    """
    champion = models.in_service()
    # The champion comes last: until it is renamed, a run after a kill has its predictions made anew.
    for version in sorted(cards, key=lambda version: version == champion):
        if version == champion:
            _make_predictions_anew(predicted, version)
        models.replace_card(version, renamed_card(cards[version], names))
    _rename_scores(models, names)
    served = models.in_service()  # a person may have put another one into service meanwhile
    if served is not None:
        models.exchange(served, served)  # the pointer moves all the same, and the backend loads it anew


def starting_classes(models: ProjectModels) -> list[str]:
    """The classes of the project's starting model; none when it can't be read."""
    with suppress(RegistryError):
        return models.card(STARTING_VERSION).classes
    return []


def _cards(models: ProjectModels) -> Iterator[tuple[str, Card]]:
    for version in models.ever():
        with suppress(RegistryError):
            yield version, models.card(version)


def renamed_card(card: Card, names: Names) -> Card:
    """A card under the new names. The classes of a published model are no labels, and stay.

    Of labels that have become one, boxes are added up, and the lowest threshold, the lowest score and the
    highest limits for overlaps count.
    """
    metrics = dict(card.metrics)
    if isinstance(metrics.get("per_class"), dict):
        metrics["per_class"] = _merged(metrics["per_class"], names, min)
    classes = [names.get(name, name) for name in card.classes] if card.trained else card.classes
    return card.model_copy(
        update={
            "classes": classes,
            "boxes_by_class": _merged(card.boxes_by_class, names, sum),
            "score_thresholds": _merged(card.score_thresholds, names, min),
            "overlaps": _renamed_overlaps(card.overlaps, names),
            "metrics": metrics,
        }
    )


def _renamed_overlaps(overlaps: Overlaps | None, names: Names) -> Overlaps | None:
    if overlaps is None:
        return None
    pairs = [(names.get(a, a), names.get(b, b)) for a, b in overlaps.across]
    return Overlaps(
        iou=_merged(overlaps.iou, names, max),
        inside=_merged(overlaps.inside, names, max),
        across=list(dict.fromkeys(pair for pair in pairs if pair[0] != pair[1])),
    )


def _merged(values: Mapping[str, Any], names: Names, together: Any) -> dict[str, Any]:
    found: dict[str, list[Any]] = {}
    for name, value in values.items():
        found.setdefault(names.get(name, name), []).append(value)
    return {name: together(several) if len(several) > 1 else several[0] for name, several in found.items()}


def _renamed_rounds(
    rounds: Rounds, project_id: int, names: Names, classes: Collection[str], dry: bool
) -> Iterator[int]:
    """The rounds with one of the old names; renames these unless `dry`."""
    for round_ in rounds.history(project_id, EVERY_ROUND):
        folder = rounds.folder(round_.id)
        parts = (_rename_evaluation, _rename_candidate, _rename_snapshot)
        had = [part(folder, names, classes, dry) for part in parts]
        if any(had):
            yield round_.id


def _rename_snapshot(folder: Path, names: Names, classes: Collection[str], dry: bool) -> bool:
    try:
        found = Snapshot.load(folder)
        config = rename_in_config(found.label_config_xml, names, classes)
    except (OSError, ValueError, KeyError, TypeError, LabelConfigError, RenameError):
        return False  # It is gone or damaged, or has neither an old nor a new name.
    if config.xml == found.label_config_xml:
        return False
    if dry:
        return True
    after = _numbered(parse_label_config(config.xml))
    moved = [after.index(names.get(name, name)) for name in _numbered(found.label_config)]
    if moved != list(range(len(moved))):
        for predictions in folder.glob(predictions_file("*")):
            predictions.unlink()
    images = LabelledImages(_relabelled(image, moved) for image in found.images)
    replace(found, label_config_xml=config.xml, images=images).write(folder)
    return True


def _numbered(config: LabelConfig) -> list[str]:
    """The labels in the order in which a snapshot's images number them: the ignored ones are the last."""
    return [*config.names, *config.marks.ignored]


def _relabelled(image: SnapshotImage, moved: Sequence[int]) -> SnapshotImage:
    """moved: by its old number, the new number of each label."""
    return replace(
        image,
        labels=tuple(moved[label] for label in image.labels),
        ignored=tuple((moved[label], corners) for label, corners in image.ignored),
    )


def _rename_evaluation(folder: Path, names: Names, classes: Collection[str], dry: bool) -> bool:
    try:
        found = Judgement.load(folder)
    except (OSError, ValueError):
        return False
    sides = [side for side in (found.candidate, found.champion) if side is not None]
    if not any(name in names for side in sides for name in (*side.per_class, *side.matches)):
        return False
    if not dry:
        champion = renamed_evaluation(found.champion, names) if found.champion else None
        candidate = renamed_evaluation(found.candidate, names)
        found.model_copy(update={"candidate": candidate, "champion": champion}).write(folder)
    return True


def renamed_evaluation(evaluation: Evaluation, names: Names) -> Evaluation:
    """An evaluation under the new names. Mix-ups of labels that have become one still count."""
    matches = _merged(evaluation.matches, names, _together)
    once = {
        name: float(row.average_precision(np.ones((1, len(row.truths))))[0]) for name, row in matches.items()
    }
    several = {
        new for new in names.values() if sum(names.get(old, old) == new for old in evaluation.matches) > 1
    }
    per_class = _merged(evaluation.per_class, names, min)
    return evaluation.model_copy(
        update={
            "matches": matches,
            "per_class": {
                name: once[name] if name in several else score for name, score in per_class.items()
            },
            "score_thresholds": _merged(evaluation.score_thresholds, names, min),
        }
    )


def _together(parts: list[ClassMatches]) -> ClassMatches:
    score = np.concatenate([part.score for part in parts])
    order = np.argsort(-score, kind="stable")
    return ClassMatches(
        truths=np.sum([part.truths for part in parts], axis=0),
        image=np.concatenate([part.image for part in parts])[order],
        score=score[order],
        hits=np.concatenate([part.hits for part in parts])[order],
    )


def _rename_candidate(folder: Path, names: Names, classes: Collection[str], dry: bool) -> bool:
    path = folder / CANDIDATE / "card.json"
    try:
        card = Card.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return False
    renamed = renamed_card(card, names)
    if renamed == card:
        return False
    if not dry:
        write_text(path, renamed.model_dump_json(indent=2) + "\n")
    return True


def _rename_scores(models: ProjectModels, names: Names) -> None:
    """The scores on hold-outs. After the snapshots and the cards: a process that is scoring under the old
    names sees by these that its result does not count.
    """
    for key, found in scores.stored(models):
        renamed = scores.renamed(found, names)
        if renamed != found:
            write_text(scores.path_of(models, key), renamed.model_dump_json(indent=1) + "\n")


def _make_predictions_anew(predicted: Path, version: str) -> None:
    try:
        recorded = json.loads(predicted.read_bytes())
    except (OSError, ValueError):
        return  # All predictions of the champion are taken for those of its card.
    write_text(predicted, json.dumps({**recorded, version: MADE_ANEW}))
