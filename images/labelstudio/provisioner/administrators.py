"""ADMINS: who, besides the appliance's own account, are administrators of Label Studio.

An administrator is an active member of the organisation whose account is a superuser's. Label Studio's
database records the ids of the users whom ADMINS made administrators. A user whom ADMINS no longer names is a
plain user again. Rights that somebody gave in Label Studio itself stay.
"""

import json
import logging
from typing import Any

from labelloop.settings import Settings
from provisioner import applied

log = logging.getLogger(__name__)

APPLIED = "admins"
FLAGS = ("is_staff", "is_superuser")


def apply_admins(settings: Settings, owner: Any) -> None:
    """Makes administrators of the members that ADMINS names, and plain users of those it named before.

    owner: the appliance's account, which is an administrator in any case. Label Studio has to be loaded.
    Addresses without a member are left out; `unknown_admins` tells them.
    """
    from users.models import User

    named = {user.pk: user for user in _members() if user.email.lower() in settings.admin_addresses}
    given = set(json.loads(applied.read().get(APPLIED, "[]")))
    for user in User.objects.filter(pk__in=given - set(named)).exclude(pk=owner.pk):
        _set(user, False)
    for user in named.values():
        _set(user, True)
    if idle := settings.admin_addresses - {user.email.lower() for user in named.values()}:
        log.warning("ADMINS names no active member: %s", ", ".join(sorted(idle)))
    if given != set(named):
        applied.write({APPLIED: json.dumps(sorted(named))})


def _members() -> Any:
    from users.models import User

    return User.objects.filter(is_active=True, om_through__deleted_at__isnull=True, om_through__isnull=False)


def _set(user: Any, value: bool) -> None:
    if all(getattr(user, flag) == value for flag in FLAGS):
        return
    for flag in FLAGS:
        setattr(user, flag, value)
    user.save(update_fields=list(FLAGS))
    log.info("user %s is %s administrator (ADMINS)", user.email, "an" if value else "no longer an")


def unknown_admins(settings: Settings, members: list[dict[str, Any]]) -> list[str]:
    """The addresses in ADMINS that none of the users has.

    members: as Label Studio's /api/users lists them; it shows those who were removed without their address.
    """
    return sorted(settings.admin_addresses - _addresses(members))


def has_labellers(settings: Settings, members: list[dict[str, Any]]) -> bool:
    """Whether anybody is a member whom the settings do not name as an administrator. members: as above."""
    return bool(_addresses(members) - settings.admin_addresses - {settings.admin_email.lower(), ""})


def _addresses(members: list[dict[str, Any]]) -> set[str]:
    return {str(member["email"]).lower() for member in members}
