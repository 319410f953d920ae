"""The projects that the loop doesn't serve, and why: `python -m provisioner.left_alone`.

Prints a JSON list, a phrase a project. Exit status 1: Label Studio doesn't answer.
"""

import json
import sys
from collections.abc import Iterable, Iterator

from labelloop.labels import LabelConfigError, parse_label_config
from labelloop.settings import get_settings
from labelloop.studio import Row, Studio, StudioError


def main() -> int:
    try:
        print(json.dumps([*reasons(Studio.connect(get_settings()).projects())]))
    except StudioError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def reasons(projects: Iterable[Row]) -> Iterator[str]:
    """By id, the projects whose label config the loop can't serve, each with the line to change."""
    for project in sorted(projects, key=lambda project: int(project["id"])):
        try:
            parse_label_config(project["label_config"] or "")
        except LabelConfigError as error:
            yield f"{project['id']} ({project['title']}): {error}"


if __name__ == "__main__":
    sys.exit(main())
