"""The one internal address that Label Studio may call: the stack's ML backend, through its connection alone.

For everything else that people have it call (imports by URL, webhooks, storages, other ML backends), Label
Studio's own check refuses addresses of internal networks.
"""

from typing import Any
from urllib.parse import urlsplit

import ml.models
import ml.serializers
from django.db.models.signals import post_save
from ml.api_connector import BaseHTTPAPI
from requests.adapters import HTTPAdapter

from labelloop import connection
from labelloop.settings import get_settings


def is_ours(url: str, backend_url: str) -> bool:
    """Whether a URL has the scheme, host and port of the stack's ML backend, and no other user's name."""
    try:
        return _origin(url) == _origin(backend_url)
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str]:
    """Scheme and network location as they are written: `user@host`, or another spelling, is another."""
    parts = urlsplit(url)
    return parts.scheme.lower(), parts.netloc.lower()


def exempt() -> None:
    """Lets Label Studio's connections to an ML backend, and the checks before them, reach ours."""
    ours = connection.backend_url(get_settings())
    label_studios_check = ml.serializers.validate_upload_url
    label_studios_session = BaseHTTPAPI.create_session

    def validate_upload_url(url: str, block_local_urls: bool = True) -> None:
        if not is_ours(url, ours):
            label_studios_check(url, block_local_urls=block_local_urls)

    def create_session(api: Any) -> Any:
        session = label_studios_session(api)
        scheme, location = _origin(ours)
        # The slash ends the port. Without it, a longer port or host name that begins alike would match too.
        session.mount(f"{scheme}://{location}/", HTTPAdapter(max_retries=api._max_retries))
        return session

    ml.serializers.validate_upload_url = validate_upload_url
    BaseHTTPAPI.create_session = create_session
    post_save.disconnect(ml.models.create_ml_webhook, sender=ml.models.MLBackend)
    post_save.connect(_make_webhook, sender=ml.models.MLBackend)


def _make_webhook(sender: Any, instance: Any, created: bool, **kwargs: Any) -> None:
    """Makes Label Studio's webhook beside any backend but ours: nobody needs it, nor may it be called."""
    if not is_ours(instance.url, connection.backend_url(get_settings())):
        ml.models.create_ml_webhook(sender, instance, created, **kwargs)
