"""Label Studio's URLs, less tips that come from the internet, and less a sign-up form nobody may send."""

from core.middleware import enforce_csrf_checks
from core.urls import urlpatterns as label_studio_urls
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import path
from users.views import user_signup


def no_tips(request: HttpRequest) -> HttpResponse:
    return JsonResponse({})


@enforce_csrf_checks  # type: ignore[untyped-decorator]
def sign_up_by_invitation(request: HttpRequest) -> HttpResponse:
    """The form for whoever holds an invitation link; the login page for everyone else."""
    if request.method == "GET" and not request.GET.get("token"):
        return redirect("user-login")
    answer: HttpResponse = user_signup(request)
    return answer


urlpatterns = [
    path("heidi-tips/", no_tips, name="heidi_tips"),
    path("user/signup/", sign_up_by_invitation, name="user-signup"),
    *label_studio_urls,
]
