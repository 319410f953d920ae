"""Who an API token belongs to is looked up once for a request, in one statement.

Label Studio asks when its view begins, and we ask before, to see what the person may do (access.py): six
statements each time.
"""

from typing import Any

from jwt_auth.auth import TokenAuthenticationPhaseout
from rest_framework.request import Request

_KEPT = "_labelloop_token_login"
_WITH = "user__active_organization__jwt"


def look_up_once() -> None:
    """Has a request's second look at its token give what the first one gave. A refusal is not kept."""
    label_studios = TokenAuthenticationPhaseout.authenticate
    of_key = TokenAuthenticationPhaseout.authenticate_credentials

    def authenticate(authentication: Any, request: Request) -> Any:
        http = request._request
        if not hasattr(http, _KEPT):
            setattr(http, _KEPT, label_studios(authentication, request))
        return getattr(http, _KEPT)

    def authenticate_credentials(authentication: Any, key: str) -> Any:
        """The user, with what Label Studio looks at next, and the token."""
        found = authentication.get_model().objects.select_related(_WITH).filter(key=key).first()
        if found is None or not found.user.is_active:
            return of_key(authentication, key)  # which refuses
        return found.user, found

    TokenAuthenticationPhaseout.authenticate = authenticate
    TokenAuthenticationPhaseout.authenticate_credentials = authenticate_credentials
