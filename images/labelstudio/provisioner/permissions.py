"""Label Studio's own table of permissions: what people may do in the data manager, which buttons they see.

Most of Label Studio's API does not look at this table, so `access` guards the routes.
"""

import rules
from core.permissions import all_permissions, make_perm

LABELLERS = frozenset(
    {
        "annotations.change",
        "annotations.create",
        "annotations.delete",
        "annotations.view",
        "avatar.any",
        "labels.view",
        "organizations.view",
        "projects.view",
        "tasks.view",
        "users.token.any",
        "views.change",
        "views.create",
        "views.delete",
        "views.view",
    }
)
"""What every user may; all else is for superusers."""


def restrict() -> None:
    """Takes from everybody but superusers what LABELLERS does not name."""
    for _, name in all_permissions:
        if name not in LABELLERS:
            make_perm(name, rules.is_superuser, overwrite=True)
