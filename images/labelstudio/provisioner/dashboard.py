"""The way from Label Studio to the dashboard: an address that stays, whatever name and port both have."""

from urllib.parse import urlsplit

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from labelloop import addresses
from labelloop.settings import get_settings

UNKNOWN = (
    "Nobody has told where browsers find the dashboard. The operator sets PUBLIC_DASHBOARD_URL: "
    "make up PUBLIC_DASHBOARD_URL=https://dashboard.labels.example.com"
)


def url_for(request: HttpRequest, project: int | None = None) -> str | None:
    """The dashboard's URL, as the browser that asks finds it; None where nobody has told it.

    project: of the page Now.
    """
    host = urlsplit(f"//{request.get_host()}").hostname or "localhost"
    base = addresses.dashboard_url(get_settings(), request.scheme or "http", host)
    return base if base is None or project is None else f"{base}/?project={project}"


@never_cache  # type: ignore[untyped-decorator]
@require_safe  # type: ignore[untyped-decorator]
@login_required  # type: ignore[untyped-decorator]
def lead_there(request: HttpRequest) -> HttpResponse:
    """To the dashboard's page Now; of ?project=<id>, if that is a number. Nothing else is heeded."""
    asked = request.GET.get("project", "")
    project = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else None
    url = url_for(request, project)
    if url is None:
        # Not 404, in whose place Label Studio shows a page of its own.
        return HttpResponse(UNKNOWN, "text/plain; charset=utf-8", 503)
    return HttpResponseRedirect(url)
