"""Which label of the project a dataset's label becomes."""

from collections import Counter
from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

from labelloop.labels import LabelConfig, drawing_controls, label_name, read_tags
from trainer.intake.records import IntakeError


def parse_map(text: str, setting: str = "MAP") -> dict[str, str]:
    """MAP=theirs=ours,…; an empty name on the right leaves a label's boxes out.

    setting: what messages call it.

    >>> parse_map("owl=bird, junk=")
    {'owl': 'bird', 'junk': ''}

    Raises:
        IntakeError: a part has no equals sign.
    """
    found = {}
    for part in filter(str.strip, text.split(",")):
        theirs, equals, ours = part.partition("=")
        if not equals or not theirs.strip():
            raise IntakeError(f"{setting}={text}: {part!r} is not theirs=ours; several stand behind commas")
        found[theirs.strip()] = ours.strip()
    return found


class LabelNames:
    """Finds labels by their names and aliases, without regard to case, and by a map that a person gives."""

    def __init__(self, config_xml: str, config: LabelConfig, given: Mapping[str, str]) -> None:
        self.unknown: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        tags = read_tags(config_xml)
        labels = [(tag, control) for control in drawing_controls(tags) for tag in control.below("Label")]
        self._control_of = {label_name(tag): control.get("name") for tag, control in labels}
        self._controls = {tag.get("name"): tag.name.lower() for tag in tags.iter() if tag.get("name")}
        self._by_name: dict[str, str] = {}
        for exact in (True, False):
            for tag, _ in labels:
                for name in (label_name(tag), tag.get("value"), tag.get("alias")):
                    if name:
                        self._by_name.setdefault(name if exact else _folded(name), label_name(tag))
        self._given = {}
        for theirs, ours in given.items():
            found = self._by_name.get(ours) or self._by_name.get(_folded(ours))
            if ours and found is None:
                listed = ", ".join(config.names)
                raise IntakeError(f"MAP: the project has no label {ours!r}; it has {listed}")
            self._given[_folded(theirs)] = found or ""

    def find(self, name: str) -> str | None:
        """The project's label; None when there is none, which is counted, or when it is to be left out."""
        given = self._given.get(_folded(name))
        if given is not None:
            if not given:
                self.left_out[name] += 1
            return given or None
        found = self._by_name.get(name) or self._by_name.get(_folded(name))
        if found is None:
            self.unknown[name] += 1
        return found

    def control_of(self, label: str) -> str:
        """The name of the control that draws boxes of one of the project's labels."""
        return self._control_of[label]

    def has_control(self, name: object, kind: object) -> bool:
        """Whether the project's config has a control of this name and type, as results have them."""
        return isinstance(name, str) and self._controls.get(name) == kind

    def advice(self) -> str:
        """What to do about the labels that the project lacks: the lines to paste, or the map to give."""
        lines = [f"  <Label value={quoteattr(name)}/>" for name in self.unknown]
        example = ",".join(f"{name}=…" for name in self.unknown)
        return (
            "Paste into the project's <RectangleLabels>, in its settings or in the label config:\n"
            + "\n".join(lines)
            + f"\nOr say what they are here, and nothing behind = to leave their boxes out: MAP={example}"
        )


def _folded(name: str) -> str:
    return name.strip().casefold()
