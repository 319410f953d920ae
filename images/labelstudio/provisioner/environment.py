"""The environment that Label Studio's own settings read: every deviation from its defaults, in one place."""

import os

from labelloop.outside import without_proxy
from labelloop.settings import Settings

UPLOADED_FILES = 1000
"""How many files one upload may have."""


def label_studio_environment(settings: Settings) -> dict[str, str]:
    """Variables for Label Studio 1.23.2. Its HOST is left unset, so that the URLs of images are relative.

    Raises:
        MissingSecret: SECRET_KEY is not set.
    """
    return {
        "SECRET_KEY": settings.secret("secret_key"),
        # On PostgreSQL, `django_settings` says where: no environment holds its password.
        "DJANGO_DB": "default" if settings.database_url else "sqlite",
        "LABEL_STUDIO_BASE_DATA_DIR": str(settings.labelstudio_dir),
        "LABEL_STUDIO_DATABASE_NAME": str(settings.database_path),
        "XDG_CONFIG_HOME": str(settings.labelstudio_dir / "config"),
        "LABEL_STUDIO_LOG_LEVEL": "WARNING",
        "LABEL_STUDIO_DEBUG": "false",
        # Images are served from volumes/; uploads by Django, since there is no nginx in front.
        "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(settings.volumes_dir),
        "LABEL_STUDIO_USE_NGINX_FOR_UPLOADS": "false",
        # As many images as a person drops on the import page; `uploads` says it beyond that.
        "LABEL_STUDIO_DATA_UPLOAD_MAX_NUMBER_FILES": str(UPLOADED_FILES),
        # Who may come in.
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_CORS_ALLOW_ALL_ORIGINS": "false",
        # A form that a browser sends from another origin than the one we are asked under is refused; behind a
        # proxy that speaks TLS, the browser's is the public one.
        **({"LABEL_STUDIO_CSRF_TRUSTED_ORIGINS": settings.public_url} if settings.public_url else {}),
        # What would call out.
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_SENTRY_DSN": "",
        "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
        "LABEL_STUDIO_FEATURE_FLAGS_OFFLINE": "true",
        "LABEL_STUDIO_CONVERTER_DOWNLOAD_RESOURCES": "false",
        # Storing predictions recounts the tasks they are for; without this, all of the project each time.
        "LABEL_STUDIO_fflag_fix_back_4620_memory_efficient_predictions_import_08012025_short": "true",
        # Beside the task's number: how many the person has done, of those that are hers to do.
        "fflag_fix_all_optic_79_task_count_is_wrong_short": "true",
        # Whom it may call: no internal network, not even the stack's. `backend_address` exempts the backend.
        "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": "true",
        "LABEL_STUDIO_SSRF_PROTECTION_ENABLED": "true",
        "LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS": "true",
        # Compose's, which an operator may have chosen among public addresses.
        "LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS": os.environ.get("STACK_SUBNET", ""),
        # Seconds. A prediction request carries up to 100 images; a busy CPU may need minutes for them.
        "LABEL_STUDIO_ML_CONNECTION_TIMEOUT": "3",
        "LABEL_STUDIO_ML_TIMEOUT_HEALTH": "5",
        "LABEL_STUDIO_ML_TIMEOUT_SETUP": "20",
        "LABEL_STUDIO_ML_TIMEOUT_PREDICT": "600",
        "LABEL_STUDIO_ML_TIMEOUT_TRAIN": "30",
    }


def apply(settings: Settings) -> None:
    """Sets what is not set already: an operator's own LABEL_STUDIO_… wins.

    Raises:
        CertificateError: CA_BUNDLE names no file that can be read.
    """
    for name, value in label_studio_environment(settings).items():
        os.environ.setdefault(name, value)
    os.environ.update(network_environment(settings))


def network_environment(settings: Settings) -> dict[str, str]:
    """Variables for the libraries by which Label Studio asks others: requests, boto3 and their like.

    The stack's own services are asked without a proxy. Certificates are written to a file of our own, which
    has the usual ones too, since these libraries read one file alone.
    """
    own = (
        "localhost",
        "127.0.0.1",
        "::1",
        settings.labelstudio_url,
        settings.mlbackend_url,
        settings.trainer_url,
    )
    direct = without_proxy([*own, *settings.outside.image_hosts.split(",")], settings.no_proxy)
    found = {"NO_PROXY": direct, "no_proxy": direct}
    for name in ("http_proxy", "https_proxy"):
        if value := getattr(settings, name):
            found |= {name: value, name.upper(): value}
    if settings.ca_bundle:
        certificates = settings.labelstudio_dir / "config" / "certificates.pem"
        settings.outside.write_certificates(certificates)
        found |= dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "AWS_CA_BUNDLE"), str(certificates))
    return found


def forget_secret_key() -> None:
    """Takes SECRET_KEY out of the environment, unless that is where it came from."""
    if os.environ.get("SECRETS_DIR"):
        os.environ.pop("SECRET_KEY", None)
