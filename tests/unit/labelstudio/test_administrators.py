"""Who of Label Studio's users labels, and who is an administrator by the settings."""

from typing import Any

import pytest

from labelloop.settings import Settings
from provisioner.administrators import has_labellers, unknown_admins

ADMIN, ANN, REMOVED = ({"email": email} for email in ("Admin@Labelloop.local", "ann@example.org", ""))


@pytest.mark.parametrize(
    ("admins", "members", "expected"),
    [
        ("", [ADMIN], False),
        ("", [ADMIN, ANN], True),
        ("Ann@example.org", [ADMIN, ANN], False),
        ("", [ADMIN, REMOVED], False),
        ("bob@example.org", [ADMIN, ANN], True),
    ],
)
def test_whoever_the_settings_do_not_name_labels(
    admins: str, members: list[dict[str, Any]], expected: bool
) -> None:
    assert has_labellers(Settings(admins=admins), members) is expected


def test_names_in_admins_that_nobody_has_are_told() -> None:
    settings = Settings(admins="bob@example.org, Ann@example.org")
    assert unknown_admins(settings, [ADMIN, ANN, REMOVED]) == ["bob@example.org"]
