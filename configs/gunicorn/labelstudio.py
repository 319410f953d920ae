"""gunicorn for Label Studio, in the container and on the host."""

import gc
import os
from pathlib import Path
from typing import Any

from provisioner import django_app, logs

logs.configure()
django_app.configure()

bind = os.environ.get("LABELSTUDIO_BIND", "0.0.0.0:8080")
wsgi_app = "provisioner.wsgi:application"
chdir = str(django_app.package_dir())

# Loaded once, then forked: half the memory and half the time to the first page.
preload_app = True
# REPLICAS adds containers under Docker, each behind the proxy, and processes on the host runtime.
behind_proxy = bool(os.environ.get("LABELSTUDIO_FRONT"))
workers = 2 if behind_proxy else 2 * int(os.environ.get("REPLICAS") or 1)
# Threads, because a page may wait minutes for predictions while others want their images.
worker_class = "gthread"
threads = 8
timeout = 120
graceful_timeout = 20
keepalive = 5
# Behind the proxy of compose/replicas.yml, a connection begins with the browser's address. Only services of
# the stack can reach this port then.
proxy_protocol = "auto" if behind_proxy else "off"
proxy_allow_ips = "*"

worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
control_socket_disable = True
accesslog = None
errorlog = "-"


def on_starting(server: Any) -> None:
    """Label Studio is loaded, no worker forked, no port open: the schema and the account are brought up to
    date.
    """
    from provisioner.start import prepare

    prepare()
    # What is loaded now stays: no collection of a worker's looks through it again, or copies its pages.
    gc.collect()
    gc.freeze()
