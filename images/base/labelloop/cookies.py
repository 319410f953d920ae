"""The names of the appliance's cookies.

Browsers send a cookie to every port of the host that set it. So Label Studio and the dashboard see each
other's, which one login for both rests on; and two stacks on one host would overwrite each other's, if each
stack had not its own names.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass

from labelloop.settings import Settings

_VALUE = re.compile(r"[A-Za-z0-9_:.=-]{8,4096}")


@dataclass(frozen=True)
class CookieNames:
    """session, csrf: Label Studio's. dashboard: the dashboard's own."""

    session: str = "sessionid"
    csrf: str = "csrftoken"
    dashboard: str = "labelloop_dashboard"

    @classmethod
    def of(cls, settings: Settings) -> "CookieNames":
        """The names of this stack. They tell nothing of API_TOKEN, and change with it, as a rotation ends all
        sessions anyway. Without API_TOKEN, as while images are built, they are the plain ones.
        """
        if settings.api_token is None:
            return cls()
        secret = settings.api_token.get_secret_value().encode()
        stack = hmac.new(secret, b"cookies", hashlib.sha256).hexdigest()[:8]
        return cls(*(f"{name}_{stack}" for name in (cls.session, cls.csrf, cls.dashboard)))


def session_value(value: str | None) -> str | None:
    """A session cookie's value as Label Studio writes it; None for anything else, which is not sent on.

    >>> session_value("a; Path=/") is session_value("") is session_value(None)
    True
    """
    return value if value and _VALUE.fullmatch(value) else None
