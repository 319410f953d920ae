"""The container's health check: `python -m trainer.health.probe` fails and says why unless all is well."""

import sys

from labelloop import layout, probe


def main() -> int:
    try:
        _, report = probe.health("TRAINER_BIND", layout.TRAINER_PORT, "trainer", "problems", "projects")
        probe.health("DASHBOARD_BIND", layout.DASHBOARD_PORT, "dashboard")
    except probe.Unanswered as error:
        print(error)
        return 1
    champions = ", ".join(f"{version} (project {project})" for project, version in report["projects"].items())
    print("; ".join(report["problems"]) or f"in service: {champions or 'no project yet'}")
    return 1 if report["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
