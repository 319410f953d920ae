"""On Label Studio's page of a project's model, our ML backend's title says where the dashboard is.

The stored title stays as it is: a project's model_version may be that title, and the trainer and the
provisioner know the connection by it. They get it as it is, as all programs do that ask with a token.
"""

from typing import Any

from ml.serializers import MLBackendSerializer
from rest_framework.authentication import SessionAuthentication

from labelloop.connection import TITLE, backend_url
from labelloop.settings import get_settings
from provisioner.backend_address import is_ours
from provisioner.dashboard import url_for

SAYS = f"{TITLE}: rounds and scores at "


def lead_to_the_dashboard() -> None:
    """Gives people's pages the title with the dashboard's address, and takes that off what forms send."""
    label_studios_representation = MLBackendSerializer.to_representation
    label_studios_value = MLBackendSerializer.to_internal_value

    def to_representation(serializer: Any, instance: Any) -> Any:
        row = label_studios_representation(serializer, instance)
        request = serializer.context.get("request")
        if (
            row.get("title") == TITLE
            and is_ours(instance.url, backend_url(get_settings()))
            and _is_page(request)
        ):
            url = url_for(request, instance.project_id)
            row["title"] = f"{SAYS}{url}" if url else TITLE
        return row

    def to_internal_value(serializer: Any, data: Any) -> Any:
        value = label_studios_value(serializer, data)
        if str(value.get("title") or "").startswith(SAYS):
            value["title"] = TITLE
        return value

    MLBackendSerializer.to_representation = to_representation
    MLBackendSerializer.to_internal_value = to_internal_value


def _is_page(request: Any) -> bool:
    """Whether a page of Label Studio's asks, with its person's session."""
    return isinstance(getattr(request, "successful_authenticator", None), SessionAuthentication)
