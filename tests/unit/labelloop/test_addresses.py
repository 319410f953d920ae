"""Where browsers find either app from the other, and whether they send Label Studio's cookies to both."""

import pytest

from labelloop.addresses import dashboard_url, labelstudio_url, share_cookies
from labelloop.settings import Settings

PORTS = {"labelstudio_port": 80, "dashboard_port": 81}
PUBLIC = "https://labels.example"
OTHER = "https://loop.example"


def settings(public: str = "", dashboard: str = "") -> Settings:
    return Settings(public_url=public, public_dashboard_url=dashboard, **PORTS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("public", "dashboard", "host", "studio", "loop", "shared"),
    [
        ("", "", "localhost", "http://localhost:80", "http://localhost:81", True),
        ("", "", "192.0.2.7", "http://192.0.2.7:80", "http://192.0.2.7:81", True),
        ("", "", "::1", "http://[::1]:80", "http://[::1]:81", True),
        ("", OTHER, "localhost", "http://localhost:80", OTHER, True),
        (PUBLIC, "", "labels.example", PUBLIC, None, True),
        (PUBLIC, "", "Labels.Example", PUBLIC, None, True),
        (PUBLIC, OTHER, "loop.example", PUBLIC, OTHER, False),
        (PUBLIC, "", "localhost", PUBLIC, "http://localhost:81", False),
    ],
)
def test_each_app_is_found_from_the_other(
    public: str, dashboard: str, host: str, studio: str, loop: str | None, shared: bool
) -> None:
    given = settings(public, dashboard)
    assert labelstudio_url(given, "http", host) == studio
    assert dashboard_url(given, "http", host) == loop
    assert share_cookies(given, host) is shared
