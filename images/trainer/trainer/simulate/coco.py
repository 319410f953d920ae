"""Reads COCO's JSON and checks it row by row."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from trainer.simulate.errors import DatasetError

_ROW = {"images": "image", "annotations": "annotation", "categories": "category"}


class Image(BaseModel):
    id: int | str
    file_name: str = Field(min_length=1)
    width: int
    height: int


class Annotation(BaseModel):
    """bbox: x, y, width, height in pixels."""

    id: int | str | None = None
    image_id: int | str
    category_id: int
    bbox: list[FiniteFloat] = Field(min_length=4, max_length=4)
    iscrowd: int | None = 0


class Category(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)

    id: int
    name: str


class Coco(BaseModel):
    """The contents of a split's file."""

    images: list[Image] = Field(min_length=1)
    annotations: list[Annotation]
    categories: list[Category]

    @classmethod
    def read(cls, path: Path) -> "Coco":
        """Reads and checks a file.

        Raises:
            DatasetError: the file, or a row in it, cannot be read; the message names both.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DatasetError(f"{path} is not COCO's json: {error}") from error
        try:
            read = cls.model_validate(document)
        except ValidationError as error:
            raise DatasetError(f"{path}: {_first(error, document)}") from error
        read._check(path)
        return read

    def classes(self) -> dict[int, str]:
        """Names by category id, in the order of the ids."""
        return dict(sorted((category.id, category.name) for category in self.categories))

    def _check(self, path: Path) -> None:
        images, categories = [image.id for image in self.images], [row.id for row in self.categories]
        _once(f"{path}: image", images)
        _once(f"{path}: file_name", [image.file_name for image in self.images])
        _once(f"{path}: category", categories)
        known = set(images), set(categories)
        for number, row in enumerate(self.annotations):
            where = f"{path}: {_named('annotations', number, row.id)}"
            if row.image_id not in known[0]:
                raise DatasetError(f"{where}: no image {row.image_id!r}")
            if row.category_id not in known[1]:
                raise DatasetError(f"{where}: no category {row.category_id!r}")


def _once(what: str, values: Sequence[object]) -> None:
    [(value, count)] = Counter(values).most_common(1) or [(None, 0)]
    if count > 1:
        raise DatasetError(f"{what} {value!r} stands there {count} times")


def _first(error: ValidationError, document: Any) -> str:
    """The first fault in words, e.g. image 7: width: Field required."""
    first = error.errors()[0]
    key, *rest = first["loc"] or ("the document",)
    where = [str(key)]
    if rest:
        number, *field = rest
        row = document[key][number]
        where = [_named(str(key), int(number), row.get("id") if isinstance(row, dict) else None)]
        where += [".".join(map(str, field))] if field else []
    return ": ".join([*where, first["msg"]])


def _named(key: str, number: int, own: object) -> str:
    """A row's name in messages: by its id, or by its position if it has none."""
    return f"{_ROW[key]} {own}" if own is not None else f"{_ROW[key]} in row {number + 1}"
