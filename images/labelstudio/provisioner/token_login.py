"""Who an API token belongs to is looked up once for a request.

Label Studio asks when its view begins, and we ask before, to see what the person may do (access.py): six
statements each time.
"""

from typing import Any

from jwt_auth.auth import TokenAuthenticationPhaseout
from rest_framework.request import Request

_KEPT = "_labelloop_token_login"


def look_up_once() -> None:
    """Has a request's second look at its token give what the first one gave. A refusal is not kept."""
    label_studios = TokenAuthenticationPhaseout.authenticate

    def authenticate(authentication: Any, request: Request) -> Any:
        http = request._request
        if not hasattr(http, _KEPT):
            setattr(http, _KEPT, label_studios(authentication, request))
        return getattr(http, _KEPT)

    TokenAuthenticationPhaseout.authenticate = authenticate
