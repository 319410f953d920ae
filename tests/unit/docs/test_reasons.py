"""docs/explanation/how-a-round-ends.md against what gate, stages, snapshot and worker really say."""

import itertools
import re
from pathlib import Path

import pytest
from support.documents import REPO, blocks

from labelloop.settings import Settings
from trainer.dataset import split
from trainer.dataset.split import SplitError
from trainer.judging.corrections import Corrections
from trainer.judging.effort import QUICK, Work
from trainer.judging.evaluate import Evaluation
from trainer.judging.gate import decide
from trainer.judging.matches import ClassMatches
from trainer.judging.trial import Trial
from trainer.peers.projects import NO_PROJECT
from trainer.rounds.owners import NUMBER_GIVEN_AGAIN
from trainer.rounds.table import Rounds
from trainer.worker.stages import COMPARISONS

PAGE = REPO / "docs" / "explanation" / "how-a-round-ends.md"
TOLD = {line for block in blocks(PAGE) for line in block.text.splitlines()}
IMAGES = 41
# What stages says when somebody rolls back meanwhile; trainer/worker/test_rollbacks.py has it say so.
ROLLED_BACK = {
    "kept v0000: it was put into service after the round's v0002",
    f"kept v0000: the model in service was changed {COMPARISONS} times meanwhile",
}


def shape(sentence: str) -> str:
    """The sentence without its numbers: – where there is none counts as one."""
    return re.sub(r"\d+(\.\d+)?|–", "#", sentence)


def evaluation(found: int, images: int, boxes: bool) -> Evaluation:
    hits = [(1 << 10) - 1] * found
    matches = {"truths": [1] * images, "image": list(range(found)), "score": [0.9] * found, "hits": hits}
    return Evaluation(
        version="v0001",
        fingerprint="f",
        images=images,
        boxes=images if boxes else 0,
        labelled=images * 5,
        knows_labels=True,
        mAP=found / images if boxes else None,
        AP50=None,
        per_class={},
        interval=None,
        score_thresholds={},
        missing=[],
        matches={"ball": ClassMatches.model_validate(matches)},
        corrections=work(images, found),
    )


def work(images: int, found: int) -> Corrections:
    """What is found is right, and the rest is drawn."""
    return Corrections.of(Work(accepted=1) if number < found else Work(drawn=1) for number in range(images))


def verdicts() -> set[str]:
    """Everything that the gate can say, as a round's verdict, over hold-outs small, empty and sufficient."""
    said = set()
    settings = Settings.model_validate({"gate_confidence": 0.99, "holdout_min": 5, "holdout_percent": 20})
    cases = itertools.product(
        (0, 2, 3, 4), (0, 2, 3, 4), (4, IMAGES), (True, False), (True, False), (True, False)
    )
    for better, worse, images, boxes, knows, there in cases:
        champion = evaluation(worse, images, boxes) if there else None
        verdict = decide(evaluation(better, images, boxes), champion, knows, settings)
        said.add(f"{'promoted' if verdict.promote else 'kept'} v0001: {verdict.reason}")
    many = decide(evaluation(38, IMAGES, True), evaluation(2, IMAGES, True), True, settings)
    newer = [evaluation(found, 1, True).model_copy(update={"since": work(4, 4 * found)}) for found in (1, 0)]
    since = decide(newer[0], newer[1], True, settings)
    for better, worse in ((4, 3), (3, 4)):
        ours, theirs = (
            evaluation(found, 5, True).model_copy(update={"trained_on": images})
            for found, images in ((better, 20), (worse, 10))
        )
        for confidence in (0.5, 0.99):
            verdict = decide(ours, theirs, True, settings.model_copy(update={"gate_confidence": confidence}))
            said.add(f"{'promoted' if verdict.promote else 'kept'} v0001: {verdict.reason}")
    said |= {f"promoted v0001: {many.reason}", f"promoted v0001: {since.reason}"}
    tied = evaluation(38, IMAGES, True).model_copy(update={"corrections": work(IMAGES, 2)})
    said.add(f"promoted v0001: {decide(tied, evaluation(2, IMAGES, True), True, settings).reason}")
    trial = Trial(version="v0001", former="v0000", tasks=[*range(20)])
    for before, after in ((20, 0), (0, 20)):
        tried = trial.model_copy(update={"before": work(20, before), "after": work(20, after)})
        said.add(f"promoted v0001: {many.reason}; {tried.looked_at(QUICK, 0.8).reason}")
    return said


def test_every_verdict_of_the_gate_is_explained_and_no_other() -> None:
    told = {shape(line) for line in TOLD if line.startswith(("promoted", "kept"))}
    assert {shape(verdict) for verdict in verdicts() | ROLLED_BACK} == told


def test_cancelling_before_the_beginning_and_with_the_project(tmp_path: Path) -> None:
    rounds = Rounds(tmp_path)
    cancelled = rounds.cancel(rounds.request(1, "test")[0].id)
    assert cancelled.verdict in TOLD
    assert NO_PROJECT in TOLD and NUMBER_GIVEN_AGAIN in TOLD


def test_a_damaged_split(tmp_path: Path) -> None:
    path = tmp_path / "volumes" / "models" / "1" / "split.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(SplitError) as error:
        split.load(path)
    said = re.sub(r"\(.*\)", "(…)", str(error.value)).replace(f"{tmp_path}/", "")
    assert said in TOLD


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("dataset/snapshot", "label at least one and submit it"),
        ("dataset/snapshot", "has a box; label some that do"),
        ("training/learn", "training images can be read: "),
        ("training/trainset", " pixels on both sides; label larger ones"),
        ("training/hooks", "training diverged at iteration "),
        ("training/learn", "training diverged ("),
        ("worker/runner", "its process was ended "),
        ("worker/preflight", " knows these labels already, so a new version has to beat it on images held "),
        ("worker/preflight", "None is labelled yet; skipped ones do not count."),
        ("worker/preflight", " first, with a box. "),
        ("worker/preflight", ", so there is nothing to learn."),
        ("worker/preflight", "Make room first: a round may need "),
        ("worker/preflight", "Wait for the starting model, from which the first round begins"),
        ("worker/stages", '"cancelled"'),
        ("worker/stages", " stopped over a fault that labelloop did not foresee ("),
        ("worker/stages", "the disk is full ("),
    ],
)
def test_the_other_reasons_are_still_in_the_code(module: str, words: str) -> None:
    """They end a round with a sentence that is put together there; their words must stand in both."""
    source = re.sub(r'"\s+f?"', "", (REPO / "images/trainer/trainer" / f"{module}.py").read_text())
    assert words in source
    assert any(words.strip('"') in line for line in TOLD)
