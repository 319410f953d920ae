"""gunicorn for the ML backend, in the container and on the host."""

import os
import signal
import threading
from pathlib import Path

from mlbackend import logs

logs.configure()

STILL_ASKED_S = 3.0

# Threads that wait for each other sleep. With the default, which spins, two threads beside other busy
# processes took 600 ms an image instead of 80. OpenMP reads it when the worker loads torch.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

bind = os.environ.get("MLBACKEND_BIND", "127.0.0.1:9090")
wsgi_app = "mlbackend.app:serve()"

# One process holds the models; its threads answer /health and /setup while batches are predicted and others
# wait for their turn. Label Studio gives /health one second: there must be a thread left for it.
workers = 1
worker_class = "gthread"
threads = 96
preload_app = False

# Of the worker's own silence, not of a request: a batch runs on another thread, for as long as it takes.
timeout = 180
graceful_timeout = 20
keepalive = 5


def post_worker_init(worker):
    """Of several backends behind one name, one that is told to end goes on for STILL_ASKED_S: it is asked by
    who has not heard of it yet, and a connection that gunicorn doesn't take any more would be reset.
    """
    if int(os.environ.get("BACKENDS") or 1) > 1:
        signal.signal(
            signal.SIGTERM, lambda *told: threading.Timer(STILL_ASKED_S, worker.handle_exit, told).start()
        )
        signal.siginterrupt(signal.SIGTERM, False)  # as gunicorn has it


worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
control_socket_disable = True
accesslog = None
errorlog = "-"
loglevel = "warning"
