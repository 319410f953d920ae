"""The container's health check: `python -m mlbackend.probe` fails and says why unless a champion serves."""

import sys

from labelloop import layout, probe


def main() -> int:
    try:
        status, report = probe.health("MLBACKEND_BIND", layout.MLBACKEND_PORT, "ML backend", "projects")
    except probe.Unanswered as error:
        print(error)
        return 1
    if status != 200:
        print(report.get("reason", f"/health answers {status}"))
        return 1
    served = {project: state["version"] for project, state in report["projects"].items() if state["version"]}
    print("serves " + ", ".join(f"{version} (project {project})" for project, version in served.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
