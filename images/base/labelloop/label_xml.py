"""Parses a label config into tags with their places in the text, which ElementTree does not keep."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape

_NAME = re.compile(rb"<[^\s/>]+")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=<>"'/]+)\s*=\s*("[^"]*"|'[^']*')""")


class BadXml(ValueError):
    """The text is not plain XML. line: where, from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass
class Tag:
    """One element. line: the line of its opening tag, from 1. begin, end: its place in the text's UTF-8."""

    name: str
    attributes: dict[str, str]
    line: int
    children: list[Tag] = field(default_factory=list)
    begin: int = 0
    end: int = 0

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
    source = text.encode("utf-8", "surrogatepass")
    stack: list[Tag] = []
    root: Tag | None = None

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal root
        tag = Tag(name, attributes, parser.CurrentLineNumber, begin=parser.CurrentByteIndex)
        if stack:
            stack[-1].children.append(tag)
        root = root or tag
        stack.append(tag)

    def end(name: str) -> None:
        tag = stack.pop()
        *_, tag.end = _parts(source, tag.begin)
        if source[tag.end - 2 : tag.end] != b"/>":
            tag.end = source.index(b">", parser.CurrentByteIndex) + 1

    def refuse(*declaration: object) -> None:
        raise BadXml(parser.CurrentLineNumber, "declares a document type or an entity; plain tags only")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
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


def edit(text: str, changes: Iterable[tuple[Tag, Mapping[str, str] | None]]) -> str:
    """The text with other values for some attributes of some tags, or without a tag where they are None.

    All else, comments and blanks included, stays as it is. The changed tags must not lie in removed ones.

    >>> config = '<View><Label value="cat"  hotkey="1"/><!-- tame --><Label value="dog"/></View>'
    >>> cat, dog = read(config).below("Label")
    >>> edit(config, [(cat, {"value": "a & b"}), (dog, None)])
    '<View><Label value="a &amp; b"  hotkey="1"/><!-- tame --></View>'
    """
    source = text.encode("utf-8")
    for tag, attributes in sorted(changes, key=lambda change: -change[0].begin):
        if attributes is None:
            begin = tag.begin
            while source[begin - 1 : begin] in (b" ", b"\t"):
                begin -= 1
            begin -= source[begin - 1 : begin] == b"\n" and source[tag.end : tag.end + 1] in (b"\n", b"\r")
            source = source[:begin] + source[tag.end :]
        else:
            source = _with_attributes(source, tag.begin, attributes)
    return source.decode("utf-8")


def _with_attributes(source: bytes, begin: int, attributes: Mapping[str, str]) -> bytes:
    """begin: where the opening tag stands in the source."""
    left = {name.encode(): _quoted(value) for name, value in attributes.items()}
    at, found, _ = _parts(source, begin)
    made = source[:at]
    for attribute in found:
        made += source[at : attribute.start(2)] + left.pop(attribute[1], attribute[2])
        at = attribute.end()
    return made + b"".join(b" " + name + b"=" + value for name, value in left.items()) + source[at:]


def _parts(source: bytes, begin: int) -> tuple[int, list[re.Match[bytes]], int]:
    """Of the opening tag that begins there: the end of its name, its attributes, and its end."""
    at = name_end = _NAME.match(source, begin).end()  # type: ignore[union-attr]
    attributes = []
    while found := _ATTRIBUTE.match(source, at):
        attributes.append(found)
        at = found.end()
    return name_end, attributes, source.index(b">", at) + 1


def _quoted(value: str) -> bytes:
    """An attribute's value as it stands in a text; line ends in it survive parsing."""
    named = {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
    return f'"{escape(value, named)}"'.encode()
