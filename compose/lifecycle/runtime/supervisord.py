"""The configuration of this checkout's supervisord: which of the programs in configs/supervisor it runs."""

from __future__ import annotations

from pathlib import Path

from lifecycle.home import Home
from lifecycle.settings.settings import Settings

_CONFIG = """\
; Written by `make up`.
[supervisord]
nodaemon=true
pidfile={run}/supervisord.pid
logfile=/dev/null
logfile_maxbytes=0
umask=022
identifier={name}

[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{socket}

[include]
files={files}
"""


def config(home: Home, settings: Settings, socket: Path) -> str:
    """socket: where supervisorctl reaches it."""
    folder = home.root / "configs" / "supervisor"
    files = " ".join(str(folder / name / "*.conf") for name in _programs(settings))
    return _CONFIG.format(run=home.run, socket=socket, name=settings.project_name, files=files)


def _programs(settings: Settings) -> list[str]:
    """The folders below configs/supervisor; "." is that folder itself."""
    if settings.cluster_head:
        return ["worker"]
    more = {"postgres": settings.own_postgres, "cluster": settings.cluster}
    return [".", *(name for name, wanted in more.items() if wanted)]
