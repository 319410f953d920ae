"""What a check found: lines for a table, and the same as JSON."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

Figures = dict[str, float | str]


@dataclass(frozen=True)
class Line:
    """check: its name. what: was looked at. ok: whether it is as it should be. figures: by name, with their
    unit in it. limit: what `ok` asks for, in words.
    """

    check: str
    what: str
    ok: bool
    figures: Figures = field(default_factory=dict)
    limit: str = ""

    def text(self) -> str:
        told = ", ".join(f"{name} {_short(value)}" for name, value in self.figures.items())
        wanted = f" (wanted: {self.limit})" if self.limit and not self.ok else ""
        return f"{'ok    ' if self.ok else 'FAILED'}  {self.check:<10}  {self.what}: {told}{wanted}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, row: dict[str, Any]) -> "Line":
        return cls(**row)


def verdict(lines: Sequence[Line]) -> bool:
    """Whether everything is well; nothing looked at is not."""
    return bool(lines) and all(line.ok for line in lines)


def table(lines: Iterable[Line]) -> str:
    return "\n".join(line.text() for line in lines)


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
