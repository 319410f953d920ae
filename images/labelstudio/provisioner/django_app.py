"""Label Studio's Django application: where it lies, and how to load it."""

import importlib.util
import os
import sys
import warnings
from importlib.metadata import version
from pathlib import Path


def package_dir() -> Path:
    """The folder of the package label_studio: its modules import each other from there (`core`, …)."""
    spec = importlib.util.find_spec("label_studio")
    if spec is None or spec.origin is None:
        raise RuntimeError(f"label-studio is not installed beside {sys.executable}; run `make build`")
    return Path(spec.origin).parent


def label_studio_version() -> str:
    return version("label-studio")


def configure() -> None:
    """Makes Label Studio importable under the appliance's settings."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "provisioner.django_settings"
    warnings.filterwarnings("ignore", message="Accessing the database during app initialization")
    folder = str(package_dir())
    if folder not in sys.path:
        sys.path.insert(0, folder)


def setup() -> None:
    """Loads the application, as `django.setup` does."""
    configure()
    import django

    django.setup()
