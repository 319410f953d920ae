"""gunicorn for the ML backend, in the container and on the host."""

import os
from pathlib import Path

from mlbackend import logs

logs.configure()

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

worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
control_socket_disable = True
accesslog = None
errorlog = "-"
loglevel = "warning"
