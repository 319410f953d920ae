"""Who may do what in Label Studio: labellers label, administrators do the rest, others nothing.

A middleware, because Label Studio's community edition gives its views permissions that nothing checks, and
some of them none. The rules are the table in `routes`; what it doesn't know is for administrators.
"""

from collections.abc import Callable, Mapping
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, JsonResponse
from organizations.models import OrganizationMember
from rest_framework.exceptions import APIException
from rest_framework.request import Request

from provisioner.routes import OPEN, Condition, condition, path_of

ADMINISTRATORS_ALONE = "Only an administrator may do this."
NO_MEMBER = "This account is no longer a member. Log out at /logout; an administrator can let it in again."
SOMEBODY_ELSES = "This is another person's: only she, or an administrator, may change it."
IN_ANOTHER_NAME = "What you label counts as yours: {field} can't be another person."

# Fields of a request's body that say whose an annotation or a draft is.
_PERSONS = ("completed_by", "updated_by", "last_created_by", "user")
_NAMES_A_PERSON = (
    "/api/tasks/<pk>/annotations/",
    "/api/annotations/<pk>/",
    "/api/tasks/<pk>/drafts",
    "/api/tasks/<pk>/annotations/<annotation_id>/drafts",
    "/api/drafts/<pk>/",
)

View = Callable[..., HttpResponse]


class AccessControl:
    """Django middleware: refuses with 403 what the person who asks may not do.

    Strangers are left to Label Studio, which asks them to log in.
    """

    def __init__(self, get_response: View) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: View, args: Any, kwargs: Mapping[str, Any]
    ) -> HttpResponse | None:
        path = path_of(request.resolver_match.route)
        if path in OPEN:
            return None
        asked = _as_the_view_sees_it(request, view)
        user = _user(asked)
        if not user.is_authenticated:
            return None
        why = _refusal(path, asked, user, kwargs)
        return _refused(request, why) if why else None


def is_member(user: Any) -> bool:
    """Whether a user is active and in the organisation, from which nobody removed her.

    Label Studio itself lets those in again who were removed.
    """
    memberships = OrganizationMember.objects.filter(user=user.pk, deleted_at__isnull=True)
    return bool(user.is_active and memberships.exists())


def _as_the_view_sees_it(request: HttpRequest, view: View) -> Any:
    """The request that the API's views get, who read tokens and bodies; for a page, the request as it is."""
    kind = getattr(view, "cls", None)
    if kind is None:
        return request
    api = kind(**view.initkwargs)  # type: ignore[attr-defined]
    return Request(request, parsers=api.get_parsers(), authenticators=api.get_authenticators())


def _user(asked: Any) -> Any:
    try:
        return asked.user
    except APIException:  # the view will say so itself
        return AnonymousUser()


def _refusal(path: str, asked: Any, user: Any, kwargs: Mapping[str, Any]) -> str | None:
    if not is_member(user):
        return NO_MEMBER
    if user.is_superuser:
        return None
    needed = condition(path, asked.method)
    if needed is None:
        return ADMINISTRATORS_ALONE
    if not _fulfilled(needed, user, kwargs):
        return SOMEBODY_ELSES
    if path in _NAMES_A_PERSON and asked.method in ("POST", "PUT", "PATCH"):
        return _in_another_name(asked, user)
    return None


def _fulfilled(needed: Condition, user: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether the condition holds. A row that does not exist fulfils it: Label Studio answers 404 itself."""
    from data_manager.models import View as Tab
    from tasks.models import Annotation, AnnotationDraft

    if needed is Condition.OWN_ACCOUNT:
        return str(kwargs["pk"]) == str(user.pk)
    if needed is Condition.OWN_ANNOTATION:
        annotation = kwargs.get("annotation_id", kwargs["pk"])
        return not Annotation.objects.filter(pk=annotation).exclude(completed_by=user).exists()
    if needed is Condition.OWN_DRAFT:
        return not AnnotationDraft.objects.filter(pk=kwargs["pk"]).exclude(user=user).exists()
    if needed is Condition.OWN_TAB:
        own = Tab.objects.filter(pk=kwargs["pk"], user=user) if str(kwargs["pk"]).isdecimal() else None
        return bool(own and own.exists())
    return True


def _in_another_name(asked: Request, user: Any) -> str | None:
    try:
        body = asked.data
    except APIException:
        return None
    for field in _PERSONS if isinstance(body, Mapping) else ():
        if body.get(field) not in (None, "", user.pk, str(user.pk)):
            return IN_ANOTHER_NAME.format(field=field)
    return None


def _refused(request: HttpRequest, why: str) -> HttpResponse:
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": why, "status_code": 403}, status=403)
    return HttpResponse(why, "text/plain; charset=utf-8", 403)
