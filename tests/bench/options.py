"""What a benchmark run is asked to do; `make bench NAME=VALUE …` sets the fields."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

if TYPE_CHECKING:
    from trainer.simulate.dataset import Dataset

REPO = Path(__file__).resolve().parents[2]
LABELSTUDIO_BIN = Path(os.environ.get("LABELSTUDIO_BIN") or REPO / ".venv" / "labelstudio" / "bin")


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _pairs(value: Any) -> Any:
    parts = _split(value)
    if not isinstance(value, str):
        return value
    if not all(part.count(":") == 1 for part in parts):
        raise ValueError(f"{value!r}: needed LABELS:mAP with commas between, 40:0.55,160:0.6")
    return dict(part.split(":") for part in parts)


Names = Annotated[tuple[str, ...], BeforeValidator(_split)]
Numbers = Annotated[tuple[int, ...], BeforeValidator(_split)]
Goals = Annotated[dict[int, float], BeforeValidator(_pairs)]
Folder = Annotated[Path, AfterValidator(Path.expanduser)]


class Options(BaseModel):
    """Lists are written with commas: SEEDS=0,1,2.

    only: sections to run; all of them when empty. coco: a folder with images/ and <split>.json of COCO's
    format, for the sections that need real data. predicted: of training and simulations, the starting
    model's classes for its labels, "raccoon=cat,dog,bear". costs: of simulations, the table by which the
    person decides. seeds, labels: of the training and simulation sections. goals: of training, the mAP to
    reach by number of labels, "40:0.55". sizes: task counts of the growth section; generated: on rows that
    the benchmark copies. database: of growth and load, a PostgreSQL server of their own. seconds, clients,
    labellers, tasks: of the load section; tasks=0 leaves the many tasks out. threads: of every party that
    is compared. record: 1 keeps the figures in docs/benchmarks/, busy does so on a machine that others use.
    runtime: `docker` or `host` by the time a section sees it. out: where bench.json and
    bench.png go.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    only: Names = ()
    coco: Folder | None = None
    predicted: str = ""
    costs: Literal["", "quick", "careful"] = ""
    seeds: Numbers = (0, 1, 2)
    labels: Numbers = (10, 40, 160)
    goals: Goals = {}
    sizes: Numbers = (1_000, 3_000, 10_000)
    database: Literal["sqlite", "postgres"] = "sqlite"
    generated: bool = False
    seconds: int = Field(300, ge=10)
    clients: int = Field(64, ge=1)
    labellers: int = Field(20, ge=1)
    tasks: int = Field(20_000, ge=0)
    threads: int = Field(default_factory=lambda: len(os.sched_getaffinity(0)), ge=1)
    runtime: Literal["auto", "docker", "host"] = "auto"
    record: Literal["", "0", "1", "busy"] = ""
    out: Folder = REPO / "build" / "bench"

    @model_validator(mode="after")
    def _check(self) -> "Options":
        if self.coco is not None and not (self.coco / "images").is_dir():
            raise ValueError(
                f"COCO={self.coco}: has no folder images/; name one that has, with <split>.json beside"
            )
        for name, values, least in (("SEEDS", self.seeds, 0), ("LABELS", self.labels, 1)):
            if not values or min(values) < least or len(set(values)) < len(values):
                given = ",".join(map(str, values))
                raise ValueError(
                    f"{name}={given}: needed one or more different whole numbers from {least} on"
                )
        if any(size < 1 for size in self.sizes) or len(set(self.sizes)) < 2:
            raise ValueError(f"SIZES={self.sizes}: growth needs two different counts above 0")
        return self

    def coco_dir(self) -> Path:
        """COCO, for a section that can't do without.

        Raises:
            ValueError: it is not given.
        """
        if self.coco is None:
            raise ValueError(
                "this section needs real data: give COCO=DIR, a folder with images/ and <split>.json"
            )
        return self.coco

    def dataset(self) -> "Dataset":
        """COCO's train.json and test.json with PREDICTED, every image looked at.

        Raises:
            ValueError: COCO is not given, or PREDICTED is no LABEL=CLASS,CLASS. DatasetError: COCO, or a
                label of PREDICTED, cannot be used.
        """
        from trainer.simulate.dataset import Dataset
        from trainer.simulate.options import predicted_values

        pairs = [pair for pair in self.predicted.split(":") if pair]
        return Dataset.load(self.coco_dir().resolve(), predicted_values(pairs))

    @classmethod
    def parse(cls, arguments: list[str]) -> "Options":
        """From NAME=VALUE words, as make passes them on.

        Raises:
            ValueError: a word of another form, an unknown name or an impossible value.
        """
        pairs = [argument.partition("=") for argument in arguments]
        wrong = [name for name, equals, _ in pairs if not equals or name.lower() not in cls.model_fields]
        if wrong:
            known = ", ".join(name.upper() for name in cls.model_fields)
            raise ValueError(
                f"{wrong[0]!r} is no setting of the benchmark; NAME=VALUE with NAME one of {known}"
            )
        given = {name.lower(): value for name, _, value in pairs if value}
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise ValueError("\n".join(_sentences(error, given))) from None


def _sentences(error: ValidationError, given: dict[str, str]) -> Iterator[str]:
    """SIZES=many: what is wrong with it; of a check of ours, what that says."""
    for row in error.errors():
        name = str(row["loc"][0]) if row["loc"] else ""
        yield f"{name.upper()}={given[name]}: {row['msg']}" if name else str(row["ctx"]["error"])
