"""Makes sure of a project's starting model in a process of its own:
`python -m trainer.training.starting <project>`.

The last line it prints says what was done, or what is wrong.
"""

import sys

from labelloop.registry import Registry
from trainer.env import get_settings
from trainer.system.children import die_with_parent


def main(arguments: list[str]) -> int:
    from trainer.training.weights import write_starting_model

    die_with_parent()
    settings = get_settings()
    project_id = int(arguments[0])
    try:
        version = write_starting_model(project_id, settings)
    except Exception as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())}")
        return 1
    card = Registry(settings.models_dir).project(project_id).card(version)
    print(f"{version} is in service: {card.detector}, weights: {card.start_weights} ({card.reason})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
