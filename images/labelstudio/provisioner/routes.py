"""Who may use which route of Label Studio: the table that `access` enforces.

docs/reference/who-may-do-what.md holds the same table for people, and what is left to administrators.
"""

import re
from collections.abc import Mapping
from enum import Enum

READ = "GET"


class Condition(Enum):
    """What has to be true, besides, of a labeller's request."""

    ALWAYS = "always"
    OWN_ACCOUNT = "the account is hers"
    OWN_ANNOTATION = "the annotation is hers"
    OWN_DRAFT = "the draft is hers"
    OWN_TAB = "the tab is hers"


ALWAYS = Condition.ALWAYS

OPEN = (
    "/data/avatars/<path>",
    "/label-studio-frontend/<path>",
    "/dm/<path>",
    "/react-app/<path>",
    "/static/<path>",
    "/static/fonts/roboto/roboto.css",
    "/sw.js",
    "/sw-fallback.js",
    "/favicon.ico",
    "/samples/time-series.csv",
    "/samples/paragraphs.json",
    "/user/login/",
    "/user/signup/",
    "/logout/",
    "/admin/login/",
    "/admin/logout/",
    "/admin/jsi18n/",
    "/api-auth/login/",
    "/api-auth/logout/",
    "/api/token/refresh/",
    "/health/",
    "/metrics/",
    "/version/",
    "/trigger500/",
    "/heidi-tips/",
    "/__lsa/",
    "/django-rq/stats.json/",
    "/django-rq/stats.json/<token>/",
    "/swagger.json",
    "/swagger.yaml",
    "/swagger/",
    "/docs/",
    "/docs/api/",
    "/docs/api/schema/",
    "/docs/api/schema/swagger-ui/",
    "/docs/api/schema/redoc/",
    "/docs/api/schema/json/",
    "/docs/api/schema/yaml/",
)
"""Nothing is asked of whoever comes here but what Label Studio asks itself."""

LABELLERS: Mapping[str, Mapping[str, Condition]] = {
    # Pages.
    "/": {READ: ALWAYS},
    "/projects/": {READ: ALWAYS},
    "/projects/<pk>/": {READ: ALWAYS},
    "/projects/<pk>/data/": {READ: ALWAYS},
    "/user/account/": {READ: ALWAYS, "POST": ALWAYS},
    "/user/account/<sub_path>": {READ: ALWAYS, "POST": ALWAYS},
    # Images.
    "/data/local-files/": {READ: ALWAYS},
    "/data/upload/<filename>": {READ: ALWAYS},
    "/storage-data/uploaded/": {READ: ALWAYS},
    "/tasks/<task_id>/resolve/": {READ: ALWAYS},
    "/tasks/<task_id>/presign/": {READ: ALWAYS},
    "/projects/<project_id>/resolve/": {READ: ALWAYS},
    "/projects/<project_id>/presign/": {READ: ALWAYS},
    # Projects, as they are.
    "/api/projects/": {READ: ALWAYS},
    "/api/projects/counts/": {READ: ALWAYS},
    "/api/projects/<pk>/": {READ: ALWAYS},
    "/api/projects/<pk>/summary/": {READ: ALWAYS},
    "/api/projects/<pk>/model-versions/": {READ: ALWAYS},
    "/api/projects/<pk>/annotators/": {READ: ALWAYS},
    # Without them, the page that shows the export of a project, which is refused, can't be shown.
    "/api/projects/<pk>/export/formats": {READ: ALWAYS},
    "/api/projects/<pk>/export/files": {READ: ALWAYS},
    "/api/label_links/": {READ: ALWAYS},
    "/api/labels/": {READ: ALWAYS},
    # The data manager; which of its actions, its own table of permissions says.
    "/api/dm/project/": {READ: ALWAYS},
    "/api/dm/columns/": {READ: ALWAYS},
    "/api/dm/actions/": {READ: ALWAYS, "POST": ALWAYS},
    "/api/dm/views/": {READ: ALWAYS, "POST": ALWAYS},
    "/api/dm/views/order/": {"POST": ALWAYS},
    "/api/dm/views/<pk>/": {
        READ: ALWAYS,
        "PUT": ALWAYS,
        "PATCH": ALWAYS,
        "DELETE": Condition.OWN_TAB,
    },
    # Tasks, and what is drawn on them.
    "/api/tasks/": {READ: ALWAYS},
    "/api/tasks/<pk>/": {READ: ALWAYS},
    "/api/tasks/<pk>/agreement/": {READ: ALWAYS},
    "/api/projects/<pk>/tasks/": {READ: ALWAYS},
    "/api/projects/<pk>/next/": {READ: ALWAYS},
    "/api/projects/<pk>/label-stream-history/": {READ: ALWAYS},
    "/api/tasks/<pk>/annotations/": {READ: ALWAYS, "POST": ALWAYS},
    "/api/annotations/<pk>/": {
        READ: ALWAYS,
        "PUT": Condition.OWN_ANNOTATION,
        "PATCH": Condition.OWN_ANNOTATION,
        "DELETE": Condition.OWN_ANNOTATION,
    },
    "/api/annotations/<pk>/convert-to-draft": {"POST": Condition.OWN_ANNOTATION},
    "/api/tasks/<pk>/drafts": {READ: ALWAYS, "POST": ALWAYS},
    "/api/tasks/<pk>/annotations/<annotation_id>/drafts": {READ: ALWAYS, "POST": Condition.OWN_ANNOTATION},
    "/api/drafts/<pk>/": {
        READ: ALWAYS,
        "PUT": Condition.OWN_DRAFT,
        "PATCH": Condition.OWN_DRAFT,
        "DELETE": Condition.OWN_DRAFT,
    },
    "/api/predictions/": {READ: ALWAYS},
    "/api/predictions/<pk>/": {READ: ALWAYS},
    "/api/ml/": {READ: ALWAYS},
    "/api/ml/<pk>/interactive-annotating": {"POST": ALWAYS},
    "/api/fsm/entities/<entity_name>/<entity_id>/history": {READ: ALWAYS},
    # People: who they are, and one's own account.
    "/api/users/": {READ: ALWAYS},
    "/api/users/<pk>/": {READ: ALWAYS, "PATCH": Condition.OWN_ACCOUNT},
    "/api/users/<pk>/avatar/": {"POST": Condition.OWN_ACCOUNT, "DELETE": Condition.OWN_ACCOUNT},
    "/labelloop/people/me": {READ: ALWAYS},
    "/labelloop/dashboard": {READ: ALWAYS, "POST": ALWAYS},
    "/api/organizations/": {READ: ALWAYS},
    "/api/organizations/<pk>/memberships": {READ: ALWAYS},
    "/api/organizations/<pk>/memberships/<user_pk>/": {READ: ALWAYS},
    "/api/current-user/whoami": {READ: ALWAYS},
    "/api/current-user/token": {READ: ALWAYS},
    "/api/current-user/reset-token/": {"POST": ALWAYS},
    "/api/current-user/hotkeys/": {READ: ALWAYS, "PATCH": ALWAYS},
    "/api/current-user/product-tour": {READ: ALWAYS, "PUT": ALWAYS, "PATCH": ALWAYS},
    "/api/jwt/settings": {READ: ALWAYS},
    "/api/token/": {READ: ALWAYS, "POST": ALWAYS},
    "/api/token/blacklist/": {"POST": ALWAYS},
    "/api/token/rotate/": {"POST": ALWAYS},
}
"""Path → method → condition. What is not in here, or in OPEN, is for administrators: also what Label Studio
adds in a later version.
"""

_FORMAT = re.compile(r"\\\.\(\?P<format>\[a-z0-9\]\+\)|<drf_format_suffix:format>")
_GROUP = re.compile(r"\(\?P<(\w+)>[^()]*(?:\([^()]*\)[^()]*)*\)\??|<(?:\w+:)?(\w+)>")


def path_of(route: str) -> str:
    """A route of Django's as the table writes it: `^api/^users/(?P<pk>[^/.]+)/$` is `/api/users/<pk>/`.

    A path with the suffix of a format, such as /api/users.json, is that without it.
    """
    named = _GROUP.sub(lambda match: f"<{match[1] or match[2]}>", _FORMAT.sub("", route))
    return "/" + named.replace("/?$", "/").replace("^", "").replace("$", "").replace("\\", "")


def condition(path: str, method: str) -> Condition | None:
    """What a labeller's request needs besides; None: it is for administrators.

    HEAD and OPTIONS are as GET.
    """
    methods = LABELLERS.get(path, {})
    return methods.get(READ if method in ("HEAD", "OPTIONS") else method)
