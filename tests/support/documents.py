"""The README and docs/ as tests read them: fenced blocks, commands, tables, links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).parents[2]
PAGES = sorted([REPO / "README.md", *(REPO / "docs").rglob("*.md")])

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block. language: the word behind the fence, empty when there is none."""

    page: Path
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(page, match[1], match[2]) for match in _FENCE.finditer(page.read_text())]


def commands() -> dict[str, list[str]]:
    """Every command of every `sh` block, as written, to the names of the pages that have it."""
    found: dict[str, list[str]] = {}
    for page in PAGES:
        for block in blocks(page):
            for line in block.text.replace("\\\n", " ").splitlines() if block.language == "sh" else ():
                if line.strip() and not line.startswith("#"):
                    found.setdefault(line.strip(), []).append(str(page.relative_to(REPO)))
    return found


def rows(page: Path, heading: str = "") -> Iterator[list[str]]:
    """The cells of the page's table rows, below `heading` alone if given; header rows too."""
    text = page.read_text()
    if heading:
        text = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def coded(text: str) -> list[str]:
    """The `words` between backticks."""
    return re.findall(r"`([^`]+)`", text)


def links(page: Path) -> list[str]:
    """Targets of the page's links to other files here, without their anchors."""
    return [path for path, _ in _targets(page) if path]


def linked_headings(page: Path) -> list[tuple[Path, str]]:
    """Of the page's links to headings, of its own or another page's: that page and the heading's anchor."""
    return [
        ((page.parent / path).resolve() if path else page, anchor)
        for path, anchor in _targets(page)
        if anchor
    ]


def anchors(page: Path) -> set[str]:
    """The anchors of the page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _targets(page: Path) -> list[tuple[str, str]]:
    """Path and anchor of each link that leads to a file here; either may be empty."""
    found = _LINK.findall(_FENCE.sub("", page.read_text()))
    parts = (target.partition("#") for target in found if "://" not in target)
    return [(path, anchor) for path, _, anchor in parts]
