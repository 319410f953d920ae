"""Who Label Studio says it is to hosts that people import from: what USER_AGENT says."""

import requests.utils

from labelloop.settings import get_settings


def introduce() -> None:
    """Gives every session of requests the setting's name. A request's own header still wins."""
    name = get_settings().user_agent
    requests.utils.default_user_agent = lambda *_: name
