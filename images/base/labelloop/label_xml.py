"""Parses a label config into tags with line numbers, which ElementTree does not keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat


class BadXml(ValueError):
    """The text is not plain XML. line: where, from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass
class Tag:
    """One element. line: the line of its opening tag, from 1."""

    name: str
    attributes: dict[str, str]
    line: int
    children: list[Tag] = field(default_factory=list)

    def get(self, attribute: str) -> str:
        return self.attributes.get(attribute, "")

    def iter(self) -> Iterator[Tag]:
        """The tag and all its descendants, in the order of the text."""
        waiting = [self]
        while waiting:
            tag = waiting.pop()
            yield tag
            waiting += reversed(tag.children)

    def below(self, name: str) -> Iterator[Tag]:
        """The tag itself and its descendants, if they have this name."""
        return (tag for tag in self.iter() if tag.name == name)


def read(text: str) -> Tag:
    """Parses the text; returns the root tag.

    Raises:
        BadXml: the text is not well-formed, or has a document type, whose entities could be anything.
    """
    parser = expat.ParserCreate("utf-8")
    stack: list[Tag] = []
    root: Tag | None = None

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal root
        tag = Tag(name, attributes, parser.CurrentLineNumber)
        if stack:
            stack[-1].children.append(tag)
        root = root or tag
        stack.append(tag)

    def refuse(*declaration: object) -> None:
        raise BadXml(parser.CurrentLineNumber, "declares a document type or an entity; plain tags only")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: stack.pop()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text.encode("utf-8"), True)
    except expat.ExpatError as error:
        raise BadXml(error.lineno, f"not well-formed XML: {expat.ErrorString(error.code)}") from error
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise BadXml(line, "holds half of a character (a surrogate), which no file can") from error
    if root is None:
        raise BadXml(1, "is empty")
    return root
