"""What people read who label: a project's instructions and description, and the line of keys under the image.

Label Studio shows the instructions behind a button beside the image, and the description where projects are
chosen.
"""

import re
from hashlib import sha256

from labelloop.addresses import DASHBOARD_PATH

# What Label Studio 1.23.2 does at each key, also on a Mac. Delete deletes nothing there, and a task's first
# change now and then takes two Ctrl+Z.
KEYS = (
    ("Label's key, then click", "Label's key, then click", "fetches the object's box; again: another size"),
    ("Label's key, then drag", "Label's key, then drag", "draws, also inside another box"),
    ("Click", "Click", "selects a box; only then can it be moved"),
    ("Backspace", "⌫", "deletes it"),
    ("Ctrl+Z", "⌘+Z", "undoes"),
    ("Ctrl+wheel", "⌘+wheel", "zooms"),
    ("Shift+drag", "Shift+drag", "pans, once zoomed in"),
    ("Ctrl+Enter", "⌘+Enter", "submits"),
)
"""By key: its name, its name on a Mac, and what it does."""

_CORRECT = """\
<h4>Correct what the model proposes</h4>
<b>1.</b> Click a proposed box and move its edges until it fits tightly, with all of the object inside.<br>
<b>2.</b> Delete boxes that are wrong; give those that are misnamed another label: click the box, then press the label's key.<br>
<b>3.</b> Mark what was missed: press the label's key, then click into the middle of the object, and its box comes. If it doesn't fit, the same again fetches another size; or press the key and drag.<br>
<b>4.</b> <b>Submit</b>, also when nothing is left to mark: an image without boxes teaches the model, too.<br>
<br>
<b>Skip</b> only images that cannot be judged: nothing is learnt from them.{order}<br>
<br>
"""  # noqa: E501
_ORDER = " The next image is the one that the\nmodel is least sure of."
_KEYS = "<b>Keys</b> (on a Mac ⌘ for Ctrl, ⌫ for Backspace): {keys}.<br>\n"
_DASHBOARD = '<br>\nHow far the model has come: <a href="{dashboard}">the dashboard</a>.\n'

# Instructions of earlier releases, which give way to today's. Add the former text's hash whenever it changes.
_FORMER = (
    "25dbd46788818442375afdf11a5ee93bddb7ead16022a7ee47564ade7cd57c44",
    "5d6cf76345f5cf6ecde9aa087eabd5fa3fa92be57614263e3042895aeb442890",
    "a5cd64ec42bed939d36c2658411b602893918dc3258b638f5980060820d02a11",
    "b497e78a6a2282bfe3f71daf4a113b291c2f7684076de140689825bcd8a52326",
    "c2c250877ac655796feb08274fc8ba9f1bf29ce76ce5b36485f73c3e7d7ca5fd",
)

DESCRIPTION = "Drop images into volumes/images, correct the boxes; the model learns from that."
ADOPTED = "Correct the boxes; the model learns from that."
"""Of a project that somebody made in Label Studio, which may have its images from elsewhere."""
UNDER_WAY = "a round is under way"
_PROGRESS = re.compile(rf"\d+ of \d+ images? labelled(, next round in \d+|, {UNDER_WAY})?\. ")


def instructions(dashboard: str = DASHBOARD_PATH, by_uncertainty: bool = True) -> str:
    """A project's instructions, as HTML. Label Studio shows lists and paragraphs without marks and gaps.

    dashboard: its URL. by_uncertainty: whether the project hands out first what the model is least sure of.
    """
    correct = _CORRECT.format(order=_ORDER if by_uncertainty else "")
    keys = " · ".join(f"<b>{key}</b> {does}" for key, _, does in KEYS)
    return (correct + _KEYS.format(keys=keys) + _DASHBOARD.format(dashboard=dashboard)).strip()


def are_former(text: str) -> bool:
    """Whether a project's instructions are those of an earlier release, as nobody changed them."""
    return sha256(text.strip().encode()).hexdigest() in _FORMER


def is_ours(description: str) -> bool:
    """Whether a project's description is ours, as nobody changed it.

    >>> is_ours(ADOPTED), is_ours(f"1 of 2 images labelled. {ADOPTED}")
    (True, True)
    >>> is_ours(""), is_ours(f"Cats. {ADOPTED}")
    (False, False)
    """
    return _without_progress(description) in (DESCRIPTION, ADOPTED)


def with_progress(description: str, labelled: int, images: int, next_in: int | str | None) -> str:
    """A description of ours that begins with how far the project is.

    next_in: how many labels are left to the next round, or what is said instead; None: nothing is.

    >>> with_progress(ADOPTED, 12, 40, 8)
    '12 of 40 images labelled, next round in 8. Correct the boxes; the model learns from that.'
    """
    plural = "" if images == 1 else "s"
    coming = next_in if isinstance(next_in, str) else f"next round in {next_in}"
    said = "" if next_in is None else f", {coming}"
    return f"{labelled} of {images} image{plural} labelled{said}. {_without_progress(description)}"


def _without_progress(description: str) -> str:
    return _PROGRESS.sub("", description.strip(), count=1)
