"""The container's health check: `python -m mlbackend.health` fails and says why unless a champion serves."""

import json
import os
import sys
from http.client import HTTPConnection, HTTPException

TIMEOUT_S = 4.0


def main() -> int:
    host, _, port = os.environ.get("MLBACKEND_BIND", "127.0.0.1:9090").rpartition(":")
    connection = HTTPConnection(
        "127.0.0.1" if host in ("", "0.0.0.0") else host, int(port), timeout=TIMEOUT_S
    )
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        report = json.loads(answer.read())
        projects = dict(report["projects"])
    except (OSError, HTTPException, ValueError, KeyError, TypeError) as error:
        print(f"the ML backend does not answer on {host}:{port}: {error!r}")
        return 1
    if answer.status != 200:
        print(report.get("reason", f"/health answers {answer.status}"))
        return 1
    served = {project: state["version"] for project, state in projects.items() if state["version"]}
    print("serves " + ", ".join(f"{version} (project {project})" for project, version in served.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
