"""S3 endpoints on internal networks that IMAGE_HOSTS names: Label Studio's storages may ask them.

For all others Label Studio's own check stays, and for all else that people have it call.
"""

from typing import Any

import io_storages.s3.serializers
import io_storages.s3.utils

from labelloop import urls
from labelloop.settings import get_settings

_PATIENCE = {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 2}}
"""By default a server that is away is asked for minutes, in which the request takes one of our threads."""


def is_opened(endpoint: str) -> bool:
    """Whether IMAGE_HOSTS names the endpoint's scheme, host and port."""
    try:
        return get_settings().outside.opens(urls.parse(endpoint))
    except ValueError:
        return False


def exempt() -> None:
    """Lets S3 storages be made with, and connect to, the endpoints that IMAGE_HOSTS names."""
    label_studios_check = io_storages.s3.serializers.validate_url_for_ssrf
    label_studios_client = io_storages.s3.utils.create_s3_client_and_resource

    def validate_url_for_ssrf(url: str, block_local_urls: bool = True) -> None:
        if not is_opened(url):
            label_studios_check(url, block_local_urls=block_local_urls)

    def create_s3_client_and_resource(
        session: Any, region_name: str | None = None, s3_endpoint: str | None = None
    ) -> tuple[Any, Any]:
        if not (s3_endpoint and is_opened(s3_endpoint)):
            made: tuple[Any, Any] = label_studios_client(session, region_name, s3_endpoint)
            return made
        options = {
            "region_name": region_name or "us-east-1",
            "endpoint_url": s3_endpoint,
            "config": io_storages.s3.utils.boto3.session.Config(signature_version="s3v4", **_PATIENCE),
        }
        return session.client("s3", **options), session.resource("s3", **options)

    io_storages.s3.serializers.validate_url_for_ssrf = validate_url_for_ssrf
    io_storages.s3.utils.create_s3_client_and_resource = create_s3_client_and_resource
