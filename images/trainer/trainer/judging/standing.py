"""How every model of a project does on today's hold-out: that of the newest snapshot of a round that is over.

Scores of different rounds are of different images, since the hold-out grows with the labels. So a model that
was promoted at 0.463 need not be worse than one that was promoted at 0.525. Here all of them are on the same
images. The worker's scorer makes what is missing.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from labelloop.registry import Card, ProjectModels, RegistryError
from trainer.judging import scores
from trainer.judging.scores import Score
from trainer.rounds.folder import CANDIDATE, SNAPSHOT
from trainer.rounds.table import Round, Rounds, State
from trainer.words import plural

HISTORY = 100
AGAIN_AFTER = timedelta(hours=1)
"""After this time a model that could not be scored is tried again."""
NOT_YET = "not yet scored on today's hold-out"


@dataclass(frozen=True)
class Pair:
    """A promotion's own comparison, on that round's hold-out.

    before: the mAP of the version that it replaced, None when they were not compared. after: its own. images:
    on so many; None when that is not known.
    """

    before: float | None
    after: float
    images: int | None

    @classmethod
    def of(cls, card: Card) -> "Pair | None":
        """The pair on a version's card; None for one that was promoted without a score."""
        after, delta, images = (card.metrics.get(name) for name in ("mAP", "delta", "images"))
        if not isinstance(after, int | float):
            return None
        before = after - delta if isinstance(delta, int | float) else None
        return cls(before, float(after), images if isinstance(images, int) else None)

    def __str__(self) -> str:
        """As in "0.328 → 0.463 on 8 images"."""
        scores = f"{self.after:.3f}" if self.before is None else f"{self.before:.3f} → {self.after:.3f}"
        return scores + (f" on {plural(self.images, 'image')}" if self.images else "")


@dataclass(frozen=True)
class Stand:
    """One model. key: its name in the scores' folder. version: None for a candidate that was not promoted.

    round: the number of the round that made it; None for a starting model. of: what tells it from another one
    with its name. folder: config.py, weights.pth, card.json; None when they were removed. score: on today's
    hold-out.
    """

    key: str
    version: str | None
    round: int | None
    card: Card
    of: str
    folder: Path | None
    in_service: bool
    score: Score | None

    @property
    def name(self) -> str:
        return self.version or f"the candidate of round {self.round}"

    @property
    def mAP(self) -> float | None:
        return self.score.mAP if self.score else None

    @property
    def seen(self) -> int:
        """On how many images of today's hold-out it is known to have been trained."""
        return (self.score.seen or 0) if self.score else 0

    @property
    def why(self) -> str:
        """Why it has no score, or what restricts it; empty when there is nothing to say."""
        score = self.score
        if score is None:
            return NOT_YET if self.folder else "its weights were removed before it was scored"
        if score.why_not or score.failed:
            return score.why_not or f"could not be scored, and is tried again: {score.failed}"
        words = []
        if score.unknown:
            of = ", ".join([*score.labels, *score.unknown])
            words.append(f"on the labels it knows, {', '.join(score.labels)} of {of}")
        if score.missing:
            words.append(f"without {plural(score.missing, 'image')} that could not be read")
        if score.seen:
            words.append(f"trained on {score.seen} of these {score.images} images, so it is too high")
        return "; ".join(words)

    def made_by(self, round_: Round) -> bool:
        """Whether the round made it. A number alone may be that of another round, of a restored table."""
        return self.round == round_.id and self.card.round_requested_at in (None, round_.requested_at)

    def due(self, now: datetime) -> bool:
        """Whether it is to be scored; also after it failed in the future, when the clock was ahead."""
        if self.folder is None:
            return False
        lately = self.score is not None and now - AGAIN_AFTER <= self.score.at <= now
        return self.score is None or (self.score.failed is not None and not lately)


@dataclass(frozen=True)
class Standing:
    """round: the one whose hold-out is today's; None before there is one. stands: the champion first, then
    the newest, the starting model last.
    """

    round: Round | None
    stands: tuple[Stand, ...]

    def of(self, version: str) -> Stand | None:
        return next((stand for stand in self.stands if stand.version == version), None)

    def made_by(self, round_: Round) -> Stand | None:
        """The model that a round made."""
        return next((stand for stand in self.stands if stand.made_by(round_)), None)

    @property
    def images(self) -> int | None:
        """How many images today's hold-out has; None before anything was scored on it."""
        sizes = [stand.score.images + stand.score.missing for stand in self.stands if stand.score]
        return max(sizes, default=None)

    @property
    def scored(self) -> list[Stand]:
        return [stand for stand in self.stands if stand.mAP is not None]

    @property
    def trained_on_some(self) -> list[Stand]:
        """Those that were trained on images of today's hold-out."""
        return [stand for stand in self.scored if stand.seen]

    @property
    def unchecked(self) -> list[Stand]:
        """Those of which nobody knows any more on which images they were trained."""
        return [stand for stand in self.scored if stand.score and stand.score.seen is None]

    def due(self, now: datetime | None = None) -> list[Stand]:
        """Those that are to be scored, in that order."""
        if self.round is None:
            return []
        return [stand for stand in self.stands if stand.due(now or datetime.now(UTC))]

    @property
    def holdout(self) -> str:
        """Today's hold-out in words."""
        if self.round is None:
            return "there is no hold-out before the first round"
        size = f"{plural(self.images, 'image')}, " if self.images is not None else ""
        return f"today's hold-out ({size}that of round {self.round.id})"

    @property
    def words(self) -> str:
        """How far the scoring is."""
        if self.round is None:
            return self.holdout
        there = [stand for stand in self.stands if stand.folder is not None]
        scored = sum(stand.mAP is not None for stand in there)
        waiting = sum(stand.score is None for stand in there)
        unscored = len(there) - scored - waiting
        refused = sum(stand.version is None for stand in there)
        told = [f"scored on {self.holdout}: {scored} of {plural(len(there), 'version')}"]
        if refused:
            told[0] += f", {refused} of which the gate refused"
        if unscored:
            told.append(f"{unscored} could not be")
        if waiting:
            follow = "follows" if waiting == 1 else "follow"
            told.append(f"{waiting} {follow} when the trainer is idle")
        return "; ".join(told)


def standing(models: ProjectModels, rounds: Rounds, project_id: int) -> Standing:
    """How a project's models stand. It reads small files alone."""
    history = rounds.history(project_id, HISTORY)
    todays = next((r for r in history if r.closed and (rounds.folder(r.id) / SNAPSHOT).is_file()), None)
    versions = list(_versions(models, models.in_service(), todays))
    refused = [
        stand
        for stand in _candidates(models, rounds, history, todays)
        if not any(version.round == stand.round for version in versions)
    ]
    found = [*versions, *refused]
    found.sort(key=lambda stand: (not stand.in_service, -(stand.round or 0), stand.key))
    return Standing(todays, tuple(found))


def _versions(models: ProjectModels, champion: str | None, todays: Round | None) -> Iterator[Stand]:
    """The versions whose cards can be read; of those that were removed, the ones that have a score."""
    present = set(models.versions())
    for version in models.ever():
        with suppress(RegistryError):
            card = models.card(version)
            score = _score(models, version, card.weights_sha256, todays)
            folder = models.folder(version) if version in present else None
            if folder is not None or score is not None:
                yield Stand(
                    version,
                    version,
                    card.round,
                    card,
                    card.weights_sha256,
                    folder,
                    version == champion,
                    score,
                )


def _candidates(
    models: ProjectModels, rounds: Rounds, history: list[Round], todays: Round | None
) -> Iterator[Stand]:
    """The candidates that the gate refused, as long as retention leaves them."""
    for round_ in history:
        folder = rounds.folder(round_.id) / CANDIDATE
        if round_.state != State.KEPT or not folder.is_dir():
            continue
        with suppress(OSError, ValueError):
            card = Card.model_validate_json((folder / "card.json").read_bytes())
            key, of = scores.key_of_candidate(round_.id), round_.requested_at
            score = _score(models, key, of, todays)
            yield Stand(key, None, round_.id, card, of, folder, False, score)


def _score(models: ProjectModels, key: str, of: str, todays: Round | None) -> Score | None:
    return None if todays is None else scores.load(models, key, of).on(todays.id, todays.requested_at)
