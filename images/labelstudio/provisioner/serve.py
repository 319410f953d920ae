"""Serves Label Studio: puts the database in place and becomes gunicorn, whose configuration does the rest.

python -m provisioner.serve
"""

import os
import sys
from pathlib import Path

from labelloop.settings import get_settings
from provisioner import database, logs
from provisioner.template import template_path


def main() -> None:
    logs.configure()
    settings = get_settings()
    if not settings.database_url:
        database.copy_template(settings.database_path, template_path())
    settings.uploads_dir.mkdir(parents=True, exist_ok=True)
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    os.execv(gunicorn, [gunicorn, "--config", str(settings.configs_dir / "gunicorn" / "labelstudio.py")])


if __name__ == "__main__":
    main()
