"""A path that lacks its last slash, as Label Studio's own pages name most of its API's."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.urls import is_valid_path


class LastSlash:
    """Django middleware: the request of a path that is none without its last slash is one of that with it.

    Label Studio does so itself, once its whole chain has answered that there is no such page.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        path = request.path_info
        if not path.endswith("/") and not is_valid_path(path) and is_valid_path(f"{path}/"):
            request.path_info, request.path = f"{path}/", f"{request.path}/"
        return self._get_response(request)
