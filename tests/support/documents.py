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
    found = (target.split("#")[0] for target in _LINK.findall(_FENCE.sub("", page.read_text())))
    return [target for target in found if target and "://" not in target]
