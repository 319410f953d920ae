"""By which variables Ray's programs on a machine take part in a cluster, whoever starts them.

compose/cluster.yml has the same for a container. This module needs only Python's standard library.
"""

from __future__ import annotations

from pathlib import Path

AUTHORITY, AUTHORITY_KEY = "ca.pem", "ca.key"
CERTIFICATE, KEY = "node.pem", "node.key"


def variables(folder: Path, token_file: Path) -> dict[str, str]:
    """folder: of the machine's certificates."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        "RAY_USE_TLS": "1",
        "RAY_TLS_CA_CERT": str(folder / AUTHORITY),
        "RAY_TLS_SERVER_CERT": str(folder / CERTIFICATE),
        "RAY_TLS_SERVER_KEY": str(folder / KEY),
        "RAY_USAGE_STATS_ENABLED": "0",
        # By default one side drops a connection that is silent for 30 s, and the other waits for minutes.
        "RAY_grpc_keepalive_timeout_ms": "90000",
    }
