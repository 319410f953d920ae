"""What Label Studio's answers carry, and how often a password may be tried at its doors."""

import math
from collections.abc import Callable
from typing import Any

from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest, HttpResponse

from provisioner import attempts

# Of the login page, of Django's administration, and of the API's own pages.
LOGINS = ("user-login", "admin:login", "rest_framework:login")
FILES = "/data/"

# Scripts and styles are left to Label Studio's own policy, which only reports: its editor needs much.
_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'self'; base-uri 'self'; object-src 'none'",
    "X-Frame-Options": "SAMEORIGIN",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
# Images are shown all the same. A page or SVG among the images can't act in the name of whoever opens it.
_FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'"

View = Callable[..., HttpResponse]


class SecurityHeaders:
    """Django middleware: headers that Label Studio doesn't set itself; files are served as inert."""

    def __init__(self, get_response: View) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        for name, value in _HEADERS.items():
            response.setdefault(name, value)
        if request.path.startswith(FILES):
            response["Content-Security-Policy"] = _FILE_POLICY
        return response


class LoginThrottle:
    """Django middleware: refuses a login with 429 while its name or address has tried too often."""

    def __init__(self, get_response: View) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(self, request: HttpRequest, view: View, args: Any, kwargs: Any) -> HttpResponse | None:
        """After the check of the form's token: what another site sends is not counted."""
        if request.method != "POST" or request.resolver_match.view_name not in LOGINS:
            return None
        name = request.POST.get("email") or request.POST.get("username") or ""
        wait_s = attempts.attempt(name, request.META.get("REMOTE_ADDR", ""))
        if not wait_s:
            return None
        seconds = str(math.ceil(wait_s))
        words = f"Too many attempts to log in. Try again in {seconds} seconds."
        return HttpResponse(words, "text/plain; charset=utf-8", 429, headers={"Retry-After": seconds})


def _succeeded(sender: Any, request: HttpRequest, user: Any, **kwargs: Any) -> None:
    attempts.succeeded(user.email, request.META.get("REMOTE_ADDR", ""))


user_logged_in.connect(_succeeded)
