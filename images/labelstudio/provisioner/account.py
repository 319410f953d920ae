"""The appliance's own user of Label Studio, and the administrators that ADMINS names.

Its API token is always API_TOKEN. Its address and password are set when ADMIN_EMAIL and ADMIN_PASSWORD
change; what a person changes in Label Studio stays until then.
"""

import logging
from typing import Any

from labelloop.errors import Explained
from labelloop.settings import Settings
from provisioner import applied
from provisioner.administrators import apply_admins

log = logging.getLogger(__name__)

ORGANISATION = "labelloop"


class AccountError(Explained):
    """The account can't be made as the environment asks; the message says why and what to change."""


def ensure_account(settings: Settings) -> None:
    """Creates the account or brings it up to date, in one transaction. Label Studio has to be loaded.

    The organisation's creator is the appliance's user, whatever the e-mail address was before.

    Raises:
        AccountError: the address belongs to somebody else.
        MissingSecret: ADMIN_PASSWORD or API_TOKEN is not set.
    """
    from django.db import transaction

    with transaction.atomic():
        user = _ensure_user(settings.admin_email.lower(), settings.secret("admin_password"))
        _ensure_organisation(user)
        _ensure_token(user, settings.secret("api_token"))
        apply_admins(settings, user)


def _ensure_user(email: str, password: str) -> Any:
    from django.contrib.auth.hashers import check_password, make_password
    from organizations.models import Organization
    from users.models import User

    organisation = Organization.objects.order_by("pk").first()
    user = organisation.created_by if organisation else None
    if user is None:
        user = User.objects.filter(email=email).first() or User.objects.create_user(
            email=email, password=password, username=email.partition("@")[0]
        )
    before = applied.read()
    changed = []
    if before.get("email") != email:
        _check_is_free(email, user)
        applied.write({"email": email})
        if user.email != email:
            user.email = email
            changed.append("email")
    if not check_password(password, before.get("password", "")):
        applied.write({"password": make_password(password)})
        if not user.check_password(password):
            user.set_password(password)
            changed.append("password")
    for flag in ("is_active", "is_staff", "is_superuser"):
        if not getattr(user, flag):
            setattr(user, flag, True)
            changed.append(flag)
    if changed:
        user.save()
        log.info("user %s: set %s", email, ", ".join(changed))
    return user


def _check_is_free(email: str, user: Any) -> None:
    from users.models import User

    named_so = User.objects.filter(email=email).exclude(pk=user.pk).first()
    if named_so is not None:
        raise AccountError(
            f"ADMIN_EMAIL={email} is the address of another user of this Label Studio (id {named_so.pk}); "
            f"choose another in .env, or change that user's at /admin/users/user/{named_so.pk}/change/"
        )


def _ensure_organisation(user: Any) -> None:
    from organizations.models import Organization, OrganizationMember

    organisation = Organization.objects.order_by("pk").first()
    if organisation is None:
        organisation = Organization.create_organization(
            created_by=user, title=ORGANISATION, legacy_api_tokens_enabled=True
        )
    elif organisation.created_by is None:
        organisation.created_by = user
        organisation.save(update_fields=["created_by"])
    organisation.add_user(user)
    # A removed user may do nothing in Label Studio, and the appliance needs its own account.
    OrganizationMember.objects.filter(user=user, deleted_at__isnull=False).update(deleted_at=None)
    if not organisation.jwt.legacy_api_tokens_enabled:
        organisation.jwt.legacy_api_tokens_enabled = True
        organisation.jwt.save()
    if user.active_organization_id != organisation.pk:
        user.active_organization = organisation
        user.save(update_fields=["active_organization"])


def _ensure_token(user: Any, key: str) -> None:
    """The legacy token, which Label Studio also hands to the ML backend."""
    from rest_framework.authtoken.models import Token

    if Token.objects.filter(user=user, key=key).exists():
        return
    Token.objects.filter(key=key).delete()
    Token.objects.filter(user=user).delete()
    Token.objects.create(user=user, key=key)
    log.info("API token set")
