"""Label Studio's Django settings, under the appliance's environment."""

import mimetypes
from pathlib import Path

from labelloop.cookies import CookieNames
from labelloop.images import SUFFIXES
from labelloop.settings import get_settings
from provisioner import environment, postgres

environment.apply(get_settings())

# Twice: the second module asks django.conf for names of the first while this one is still being imported.
from core.settings.base import *  # noqa: E402, F403
from core.settings.label_studio import *  # noqa: E402, F403
from core.settings.label_studio import (  # noqa: E402
    DATABASES,
    DJANGO_DB,
    DJANGO_DB_SQLITE,
    INSTALLED_APPS,
    MIDDLEWARE,
    REST_FRAMEWORK,
    SUPPORTED_EXTENSIONS,
    TEMPLATES,
)

# Label Studio has it in SECRET_KEY by now; no process that this one starts inherits it.
environment.forget_secret_key()

_cookies = CookieNames.of(get_settings())
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = _cookies.session, _cookies.csrf
ROOT_URLCONF = "provisioner.urls"
MIDDLEWARE.insert(0, "provisioner.middleware.SecurityHeaders")
MIDDLEWARE.insert(1, "provisioner.slashes.LastSlash")
# Before any of Label Studio's, which read the body.
MIDDLEWARE.insert(2, "provisioner.uploads.UploadLimit")
# Before anything looks who asks.
MIDDLEWARE.insert(
    MIDDLEWARE.index("django.contrib.sessions.middleware.SessionMiddleware") + 1,
    "provisioner.ended_sessions.WithoutEndedSessions",
)
MIDDLEWARE.append("provisioner.middleware.LoginThrottle")
# Last, so that everything that says who asks has been at work.
MIDDLEWARE.append("provisioner.access.AccessControl")
INSTALLED_APPS.append("provisioner.apps.Overrides")
# Our base.html extends Label Studio's, which is the next one of that name.
TEMPLATES[0]["DIRS"].insert(0, str(Path(__file__).with_name("templates")))
TEMPLATES[0]["OPTIONS"]["context_processors"].append("provisioner.editor.context")
REST_FRAMEWORK["EXCEPTION_HANDLER"] = "provisioner.uploads.answer_error"
FEATURE_FLAGS_GET_USER_REPR = "provisioner.flags.person"
WHOAMI_USER_SERIALIZER = "provisioner.whoami.WhoAmI"
SUPPORTED_EXTENSIONS.update(SUFFIXES)
# Python 3.11 knows it only where the system has a list of types, which a slim image has not.
mimetypes.add_type("image/webp", ".webp")

if (_access := get_settings().postgres) is not None:
    DATABASES["default"] = postgres.django_database(_access)
elif DJANGO_DB == DJANGO_DB_SQLITE:
    # A writer takes its lock at BEGIN and waits for it: a transaction that only upgraded to writing would
    # fail at once.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL;",
    }
