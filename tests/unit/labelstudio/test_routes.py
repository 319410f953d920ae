"""Django's patterns of routes as the table of who may do what writes them, and what the table answers."""

import pytest

from provisioner.routes import LABELLERS, OPEN, Condition, condition, path_of


@pytest.mark.parametrize(
    ("route", "path"),
    [
        ("^$", "/"),
        ("api/projects/<int:pk>/", "/api/projects/<pk>/"),
        ("^api/^users/(?P<pk>[^/.]+)/$", "/api/users/<pk>/"),
        (r"^api/^users/(?P<pk>[^/.]+)\.(?P<format>[a-z0-9]+)/?$", "/api/users/<pk>/"),
        (r"api/dm/^views\.(?P<format>[a-z0-9]+)/?$", "/api/dm/views/"),
        ("api/<drf_format_suffix:format>", "/api/"),
        (r"^sw\.js$", "/sw.js"),
        ("^logout/?$", "/logout/"),
        (r"django-rq/^stats.json/(?P<token>[\w]+)?/?$", "/django-rq/stats.json/<token>/"),
        ("data/local-files/", "/data/local-files/"),
        ("^static/(?P<path>.*)$", "/static/<path>"),
    ],
)
def test_a_route_is_one_path_however_django_writes_it(route: str, path: str) -> None:
    assert path_of(route) == path


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/api/tasks/<pk>/", Condition.ALWAYS),
        ("HEAD", "/api/tasks/<pk>/", Condition.ALWAYS),
        ("OPTIONS", "/api/tasks/<pk>/", Condition.ALWAYS),
        ("DELETE", "/api/tasks/<pk>/", None),
        ("PATCH", "/api/annotations/<pk>/", Condition.OWN_ANNOTATION),
        ("TRACE", "/api/annotations/<pk>/", None),
        ("POST", "/api/ml/<pk>/train", None),
        ("GET", "/api/storages/localfiles/", None),
        ("GET", "/api/added/in/a/later/version/", None),
    ],
)
def test_what_the_table_does_not_give_is_for_administrators(
    method: str, path: str, needed: Condition | None
) -> None:
    assert condition(path, method) == needed


def test_no_route_is_open_and_a_labellers() -> None:
    assert not set(OPEN) & set(LABELLERS)
