"""What the words on the pages mean: for the tooltips, the glossary page and docs/reference/glossary.md."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape


@dataclass(frozen=True)
class Term:
    """A word. short: its meaning in one sentence, for the tooltip. more: what else the glossary says.

    found_as: a regular expression for the word in sentences that the program writes; empty where these do not
    have it.
    """

    name: str
    short: str
    more: str = ""
    found_as: str = ""

    @property
    def anchor(self) -> str:
        """The id of its entry on the page, and the end of a link to it."""
        return f"term-{self.name.lower().replace(' ', '-')}"


_TERMS = (
    Term(
        "AP",
        "The score of a model on one label: 0 when it finds nothing, 1 when it finds every box exactly.",
        "Average precision, as COCO defines it: the mean over ten demands on how exactly a box must lie, "
        "from an IoU of 0.50 to one of 0.95.",
    ),
    Term(
        "AP50",
        "The score of a model when a box counts as found as soon as half of it is right (an IoU of 0.5).",
        "It is higher than mAP, which also asks how exactly the boxes lie.",
        r"\bAP50\b",
    ),
    Term(
        "candidate",
        "The version that a round has trained, until it is decided whether it goes into service.",
        found_as=r"\bcandidate\b",
    ),
    Term(
        "click",
        "A click on an object in Label Studio, with a label chosen, fetches the object's box.",
        "It works from the first image on; the same click again fetches another size. A dragged box is a "
        "drawn one.",
    ),
    Term(
        "cluster",
        "Several machines that train one round together, or several rounds at once.",
        "One is the head, where Label Studio is; the others have joined it.",
        r"\bcluster\b",
    ),
    Term(
        "confusion matrix",
        "A table that counts, for each label, which label the model proposes there.",
        "What is on the diagonal is right.",
    ),
    Term(
        "cost table",
        "How many seconds a person takes to draw, move, relabel, delete or look at a box, by studies or "
        "assumed.",
        "There are two, quick and careful, since nobody's seconds are everybody's; both are shown, and the "
        "setting `COSTS` says which one decides.",
    ),
    Term(
        "detector",
        "The kind of model that is trained: larger ones find more and take more time.",
        "The setting `DETECTOR` names it.",
        r"\bdetector\b",
    ),
    Term(
        "doubt",
        "A place where the model disagrees with a label, and how surely it does, from 0 to 1.",
        "The number comes from the model's score for its own box, and, where it finds no box, from how "
        "rarely it misses that label.",
        r"\bdoubt\b",
    ),
    Term(
        "gate",
        "The decision at the end of a round: the candidate goes into service only if its boxes take less "
        "time to correct than those of the model in service.",
        "Both are compared on the hold-out, and on what was labelled while the candidate was trained. The "
        "setting `GATE_CONFIDENCE` is how sure that has to be, `COSTS` says what a correction costs.",
        r"\bgate\b",
    ),
    Term(
        "hold-out",
        "Labelled images that are never trained on, so that models can be tested on them.",
        "They are a fifth of the labelled images (`HOLDOUT_PERCENT`); an image that is held out stays so. "
        "The hold-out grows with the labels, so scores of different rounds may stand on different images.",
        r"\b(?:hold-out|held out)\b",
    ),
    Term(
        "how sure",
        "The share of 1000 redraws of the compared images in which one model's boxes take less time to "
        "correct than the other's.",
        "A redraw takes as many images as there are, some twice and others not at all. Rounds of earlier "
        "releases compared mAP, and say p=0.99 for 99 % sure.",
        r"\bp=\d\.\d+|(?:over )?\d+ % sure",
    ),
    Term(
        "in service",
        "The version whose boxes Label Studio proposes.",
        "Between rounds, what was learnt at once upon it may propose in its place. Sentences of earlier "
        "releases, files and programs call it the champion.",
        r"\b[Cc]hampion\b",
    ),
    Term(
        "interval",
        "The score would lie in this range for 95 of 100 hold-outs of other images of the same kind.",
        "It is found by redrawing the hold-out (a bootstrap). With fewer images held out it is wider.",
    ),
    Term(
        "IoU",
        "How much two boxes overlap: 1 when they are the same, 0 when they do not touch.",
        "Intersection over union: the area that both cover, divided by the area that at least one covers.",
        r"\bIoU\b",
    ),
    Term(
        "iteration",
        "One step of training, on a few images at once.",
        found_as=r"\biterations?\b",
    ),
    Term(
        "junk box",
        "A labelled box that shows nothing anybody could see, or the same thing as another one.",
        "It is not learned.",
    ),
    Term(
        "kept",
        "The end of a round whose candidate was not surely better: the model that was in service stayed.",
        found_as=r"\bkept\b",
    ),
    Term(
        "learnt at once",
        "Between two rounds, the last layers of the model in service are trained on what was just submitted.",
        "It takes seconds after each image, and gives way to the next round's version. Where correcting its "
        "boxes would take longer than correcting those of the model in service, the latter are proposed, "
        "from scores on that the newest labels call for.",
    ),
    Term(
        "loose",
        "A proposed box that is on the right thing, but would have to be moved.",
        "Its overlap with the labelled box is an IoU below 0.7.",
        r"\bloose\b",
    ),
    Term(
        "loss",
        "How far the model is from the labels that it is trained on; it should fall.",
        "Only its fall says something. How good the model is on other images, the score says.",
    ),
    Term(
        "mAP",
        "The score of a model over all labels: 0 when it finds nothing, 1 when it finds every box exactly.",
        "Mean average precision: the mean of the labels' AP.",
        r"\bmAP\b",
    ),
    Term(
        "missed",
        "A labelled box where the model proposes none.",
        found_as=r"\bmissed\b",
    ),
    Term(
        "near-duplicate",
        "An image that looks almost like another: a neighbouring frame of a film, or a copy that was saved "
        "anew.",
        "Near-duplicates are all trained on or all held out.",
        r"\bnear-duplicates?\b",
    ),
    Term(
        "precision",
        "The share of the proposed boxes that are right.",
    ),
    Term(
        "pre-label",
        "A box that the model in service proposes on an image that nobody has labelled yet.",
        "Label Studio shows it, and the person who labels corrects it.",
        r"\b[Pp]re-labels?\b",
    ),
    Term(
        "promoted",
        "The end of a round whose candidate was better: it went into service as a new version.",
        found_as=r"\bpromot(?:ed|ion)\b",
    ),
    Term(
        "recall",
        "The share of the labelled boxes that the model finds.",
    ),
    Term(
        "retention",
        "The removal of old data to save disk space: of old versions and rounds, scores and sentences stay.",
        "The settings `KEEP_VERSIONS` and `KEEP_ROUNDS` say how many are kept whole.",
        r"\bretention\b",
    ),
    Term(
        "round",
        "One turn of training: the labels are frozen, a candidate is trained on them and compared with the "
        "model in service.",
        "All projects share one row of numbers, by which pages, commands, logs, folders (`volumes/rounds`) "
        "and the API call a round. Where another project had rounds between, its place among its own "
        "project's rounds stands beside it.",
    ),
    Term(
        "box score",
        "How sure the model is of one box, from 0 to 1.",
        "The score of the whole model is another thing: its mAP.",
    ),
    Term(
        "snapshot",
        "The labelled images of a project and their boxes, frozen when a round begins.",
        "What is labelled afterwards is trained on from the next round on; at the end of this one it helps "
        "to compare the candidate with the model in service.",
        r"\bsnapshot(?:ting)?\b",
    ),
    Term(
        "spurious",
        "A box that the model proposes where no label is, or a second one on the same thing.",
        found_as=r"\bspurious\b",
    ),
    Term(
        "starting model",
        "The version v0000, from before your first labels.",
        "It was trained on other pictures, and knows those of your labels that are among what it learned "
        "there.",
        r"\bstarting model\b",
    ),
    Term(
        "taken back",
        "A promotion that is undone by itself: the version from before it is in service again.",
        "So ends a trial in which the former version's boxes take less time to correct, as surely as "
        "`GATE_CONFIDENCE` asks.",
        r"\btaken back\b",
    ),
    Term(
        "threshold",
        "The score from which on a box of the model counts.",
        "A higher one proposes fewer boxes, with fewer mistakes among them. Each label has its own.",
        r"\bthreshold\b",
    ),
    Term(
        "time to correct",
        "The seconds that a person would need to make a model's boxes right, an image on average.",
        "They are counted, not measured: what would have to be drawn, moved, relabelled, deleted or looked "
        "at, times the seconds of the cost table that `COSTS` names.",
        r"\bto correct (?:an image|one)\b",
    ),
    Term(
        "trial",
        "What a promotion has to stand: on the next 20 images that are labelled it is compared with the "
        "version before it.",
        "Neither was trained on these. After 5, 10 and 20 of them it is taken back if the former version's "
        "boxes take less time to correct. Where the former version's own trial was cut short, the last one "
        "that stood its trial is compared, too.",
        r"\b[Oo]n trial\b",
    ),
    Term(
        "verified",
        "A box that a person has called right on the page Verify, without opening its image.",
        "An image of which all boxes are verified, and in which the model sees nothing else, counts as "
        "labelled. It is trained on and never held out.",
    ),
)
TERMS: Mapping[str, Term] = {term.name: term for term in sorted(_TERMS, key=lambda term: term.name.lower())}
"""By name, in the order of the alphabet."""
_IN_SENTENCES = re.compile(
    "|".join(f"(?P<t{index}>{term.found_as})" for index, term in enumerate(_TERMS) if term.found_as)
)


@pass_context
def term(context: Context, name: str, shown: str = "") -> Markup:
    """A term for a page: a link to its entry in the glossary, with its meaning as the title.

    shown: the words that stand on the page, the term itself by default.

    Raises:
        KeyError: the glossary has no such term.
    """
    return _link(context, TERMS[name], shown or name)


@pass_context
def with_terms(context: Context, text: str | None) -> Markup:
    """A sentence of the program's for a page; the first mention of each term is as `term` would have it."""
    told: set[str] = set()

    def explained(found: re.Match[str]) -> str:
        meant = _TERMS[int((found.lastgroup or "t0")[1:])]
        if meant.name in told:
            return found.group()
        told.add(meant.name)
        return str(_link(context, meant, Markup(found.group())))

    return Markup(_IN_SENTENCES.sub(explained, str(escape(text or ""))))


def _link(context: Context, meant: Term, shown: str) -> Markup:
    project = context.get("project")
    page = "" if context.get("standalone") else "/glossary" + (f"?project={project}" if project else "")
    return Markup('<a class="term" href="{}#{}" title="{}">{}</a>').format(
        page, meant.anchor, meant.short, shown
    )
