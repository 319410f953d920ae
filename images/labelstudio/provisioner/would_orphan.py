"""What annotations of a project hold that a label config lacks: `python -m provisioner.would_orphan [ID]`.

By default the project is that of LABEL_CONFIG. Reads the config from stdin, prints a JSON list of phrases and
changes nothing.
Exit status 1: Label Studio doesn't answer.
"""

import json
import sys

from labelloop.settings import get_settings
from labelloop.studio import Studio, StudioError
from provisioner.label_config import orphans
from provisioner.state import StateFile


def main() -> int:
    settings = get_settings()
    given = sys.argv[1] if len(sys.argv) > 1 else ""
    project = int(given) if given else StateFile(settings.provisioned_path).state.project
    studio = Studio.connect(settings)
    xml = sys.stdin.read()
    try:
        found = orphans(studio.annotated_tasks(project), xml) if project is not None else []
    except StudioError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
