"""metrics.jsonl: one line of JSON per iteration, written by the training process, read for display."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Metrics:
    """The metrics of one iteration.

    iteration: counted from 1. losses: by name, "loss" is their sum. lr: the learning rate. seconds: how long
    this process has trained so far. waited: how many of these the model waited for images. eta: in seconds,
    None before it can be told. parts: in how many a batch is trained on, as the GPU's memory wants it.
    """

    iteration: int
    iterations: int
    losses: dict[str, float]
    seconds: float
    eta: float | None
    lr: float = 0.0
    waited: float = 0.0
    threads: int = 1
    parts: int = 1
    processes: int = 1

    @property
    def fraction(self) -> float:
        return self.iteration / self.iterations

    def line(self) -> str:
        """
        >>> Metrics.of(Metrics(2, 40, {"loss": 1.25}, seconds=3.0, eta=57.04).line()).eta
        57.0
        """
        return json.dumps(
            {
                "iter": self.iteration,
                "iterations": self.iterations,
                **{name: round(value, 5) for name, value in self.losses.items()},
                "lr": self.lr,
                "seconds": round(self.seconds, 2),
                "waited": round(self.waited, 2),
                "threads": self.threads,
                **({} if self.parts == 1 else {"parts": self.parts}),
                **({} if self.processes == 1 else {"processes": self.processes}),
                **({} if self.eta is None else {"eta": round(self.eta, 1)}),
            }
        )

    @classmethod
    def of(cls, line: str | bytes) -> Self:
        """Raises ValueError: the line is incomplete, or is not from metrics.jsonl."""
        row = json.loads(line)
        try:
            losses = {name: float(value) for name, value in row.items() if name.startswith("loss")}
            return cls(
                iteration=int(row["iter"]),
                iterations=int(row["iterations"]),
                losses={"loss": float(row["loss"]), **losses},
                seconds=float(row.get("seconds", 0.0)),
                eta=float(row["eta"]) if "eta" in row else None,
                lr=float(row.get("lr", 0.0)),
                waited=float(row.get("waited", 0.0)),
                threads=int(row.get("threads", 1)),
                parts=int(row.get("parts", 1)),
                processes=int(row.get("processes", 1)),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no line of metrics.jsonl: {line!r:.100}") from error


def append(path: Path, metrics: Metrics) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(metrics.line() + "\n")


def newest(path: Path, position: int) -> tuple[Metrics | None, int]:
    """The newest whole line after `position` bytes, None if there is none, and the position after it.

    Raises:
        ValueError: the line is damaged.
    """
    if not path.exists():
        return None, position
    with path.open("rb") as file:
        file.seek(position)
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    if not whole:
        return None, position
    return Metrics.of(whole.splitlines()[-1]), position + len(whole)


def read(path: Path) -> list[Metrics]:
    """The metrics of each iteration, in order. Lines that are damaged or still being written are left out.

    A resumed round repeats its last iterations; the later lines count.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found: list[Metrics] = []
    for line in lines:
        try:
            metrics = Metrics.of(line)
        except ValueError:
            continue
        while found and found[-1].iteration >= metrics.iteration:
            found.pop()
        found.append(metrics)
    return found
