"""A clock that is ahead for a while, and set right again."""

from datetime import datetime, timedelta, tzinfo
from types import ModuleType

import pytest

BY = timedelta(days=3000)


class Ahead(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + BY


def set_ahead(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
    """Has these modules' `datetime.now` be BY ahead."""
    for module in modules:
        monkeypatch.setattr(module, "datetime", Ahead)
