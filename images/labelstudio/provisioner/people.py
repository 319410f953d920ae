"""Who a user of Label Studio is to the appliance: the dashboard asks before it lets somebody look or act.

Label Studio's own API tells neither who is a superuser nor, of the user who asks, whether an administrator
has removed her from the organisation.
"""

from typing import Any

from django.http import Http404
from django.utils.crypto import salted_hmac
from rest_framework.decorators import api_view, permission_classes, schema
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from users.models import User

from provisioner.access import is_member

_STAMP = "labelloop.person"


def is_administrator(user: Any) -> bool:
    return is_member(user) and bool(user.is_superuser)


class Administrators(BasePermission):  # type: ignore[misc]
    """Lets administrators alone ask."""

    def has_permission(self, request: Request, view: object) -> bool:
        return is_administrator(request.user)


@api_view(["GET"])  # type: ignore[untyped-decorator]
@schema(None)  # type: ignore[untyped-decorator]
@permission_classes([IsAuthenticated])  # type: ignore[untyped-decorator]
def myself(request: Request) -> Response:
    """Whoever asks, by a session of Label Studio or a token."""
    return Response(_told(request.user))


@api_view(["GET"])  # type: ignore[untyped-decorator]
@schema(None)  # type: ignore[untyped-decorator]
@permission_classes([IsAuthenticated, Administrators])  # type: ignore[untyped-decorator]
def somebody(request: Request, user_id: int) -> Response:
    """Anybody, for administrators; 404 when there is no such user."""
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise Http404
    return Response(_told(user))


def _told(user: Any) -> dict[str, Any]:
    """stamp: changes with the password, of which it tells nothing."""
    return {
        "id": user.pk,
        "email": user.email,
        "member": is_member(user),
        "administrator": is_administrator(user),
        "stamp": salted_hmac(_STAMP, user.password, algorithm="sha256").hexdigest()[:32],
    }
