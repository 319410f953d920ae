"""Where a person's browser finds Label Studio and the dashboard, from where it asked for the other.

Both are on one host, each on its port, unless proxies stand before them: then PUBLIC_URL and
PUBLIC_DASHBOARD_URL say where.
"""

from urllib.parse import urlsplit

from labelloop.settings import Settings

DASHBOARD_PATH = "/labelloop/dashboard"
"""Label Studio's own address for the dashboard: it leads there under whatever name the browser came by. With
?project=<id>, to that project.
"""


def labelstudio_url(settings: Settings, scheme: str, host: str) -> str:
    """Label Studio's, for a browser at the dashboard. host: the name by which it asked, without a port."""
    return settings.public_url or _beside(scheme, host, settings.labelstudio_port)


def dashboard_url(settings: Settings, scheme: str, host: str) -> str | None:
    """The dashboard's, for a browser that is at Label Studio; None where nobody has told it: behind a proxy,
    without PUBLIC_DASHBOARD_URL.
    """
    if settings.public_dashboard_url:
        return settings.public_dashboard_url
    if settings.public_url and _host(settings.public_url) == host.lower():
        return None
    return _beside(scheme, host, settings.dashboard_port)


def share_cookies(settings: Settings, host: str) -> bool:
    """Whether a browser that asked the dashboard by this name sends it Label Studio's cookies too."""
    return not settings.public_url or _host(settings.public_url) == host.lower()


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").lower()


def _beside(scheme: str, host: str, port: int) -> str:
    """
    >>> _beside("http", "::1", 81)
    'http://[::1]:81'
    """
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
