"""How much may be dropped on Label Studio's import page at once, or sent elsewhere; and the answer beyond.

Label Studio answers 500 to more files than Django takes, which by default is to 101 images. It looks at their
size only once it has all of them in its folder for temporary files, which may be full before. And whoever
reaches its login page may send 250 MB there, which it reads into memory, several at a time.
"""

import re
from collections.abc import Callable
from typing import Any

import label_studio
from core.utils.common import custom_exception_handler
from django.conf import settings
from django.core.exceptions import TooManyFilesSent
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import Resolver404, resolve
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response

from provisioner.routes import OPEN, condition, path_of

_IMPORTS = re.compile(r"/api/projects/\d+/(re)?import/?$")
_INSTEAD = "Upload them in several parts, or copy them into volumes/images, which takes any number."
_FORM_BYTES = 1 << 20
"""What a form may have around its files."""
MOST_BYTES = 10 << 20
"""So many bytes a request has at most, where it need not be an administrator's. 25,000 boxes have fewer."""


def answer_error(error: Exception, context: dict[str, Any]) -> Response:
    """Label Studio's answer to an exception in its API; with words and 400 for too many files."""
    if isinstance(error, TooManyFilesSent):
        limit = settings.DATA_UPLOAD_MAX_NUMBER_FILES
        error = ValidationError(f"At most {limit:,} files can be uploaded at once. {_INSTEAD}")
    return custom_exception_handler(error, context)


class UploadLimit:
    """Django middleware: refuses an upload that is too large before it is read. gunicorn reads it away."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        limit = settings.TASKS_MAX_FILE_SIZE
        told = request.META.get("CONTENT_LENGTH") or "0"
        length = int(told) if told.isdigit() else 0
        if _IMPORTS.search(request.path) and length > limit + _FORM_BYTES:
            most = f"At most {limit >> 20} MB of files can be uploaded at once, not {length >> 20}."
            return _refusal(f"{most} {_INSTEAD}", 400)
        if length > MOST_BYTES and _is_for_others(request):
            return _refusal(f"A request has at most {MOST_BYTES >> 20} MB here, not {length >> 20}.", 413)
        return self._get_response(request)


def _is_for_others(request: HttpRequest) -> bool:
    """Whether somebody may make a request who is no administrator. The API asks who it is before it reads."""
    try:
        path = path_of(resolve(request.path_info).route)
    except Resolver404:
        return True
    api = path.startswith(("/api/", "/labelloop/"))
    return not api or path in OPEN or condition(path, request.method or "") is not None


def _refusal(words: str, status: int) -> JsonResponse:
    """In the form of Label Studio's own, which its pages show."""
    body = {
        "status_code": status,
        "version": label_studio.__version__,
        "detail": "Validation error",
        "exc_info": None,
        "validation_errors": {"non_field_errors": [words]},
    }
    return JsonResponse(body, status=status)
