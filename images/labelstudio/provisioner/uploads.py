"""How much may be dropped on Label Studio's import page at once, and the answer beyond that.

Label Studio answers 500 to more files than Django takes, which by default is to 101 images. It looks at their
size only once it has all of them in its folder for temporary files, which may be full before.
"""

import re
from collections.abc import Callable
from typing import Any

import label_studio
from core.utils.common import custom_exception_handler
from django.conf import settings
from django.core.exceptions import TooManyFilesSent
from django.http import HttpRequest, HttpResponse, JsonResponse
from rest_framework.exceptions import ValidationError
from rest_framework.response import Response

_IMPORTS = re.compile(r"/api/projects/\d+/(re)?import/?$")
_INSTEAD = "Upload them in several parts, or copy them into volumes/images, which takes any number."
_FORM_BYTES = 1 << 20
"""What a form may have around its files."""


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
        length = request.META.get("CONTENT_LENGTH") or "0"
        if _IMPORTS.search(request.path) and length.isdigit() and int(length) > limit + _FORM_BYTES:
            most = f"At most {limit >> 20} MB of files can be uploaded at once, not {int(length) >> 20}."
            return _refusal(f"{most} {_INSTEAD}")
        return self._get_response(request)


def _refusal(words: str) -> JsonResponse:
    """In the form of Label Studio's own, which its pages show."""
    body = {
        "status_code": 400,
        "version": label_studio.__version__,
        "detail": "Validation error",
        "exc_info": None,
        "validation_errors": {"non_field_errors": [words]},
    }
    return JsonResponse(body, status=400)
