"""Learns at once, in a process of its own: `python -m trainer.instant.process <project> …`.

It looks every LOOK_S seconds for what was submitted in these projects, and ends after LINGER_S seconds
without anything new, since it takes some hundred megabytes. It may be killed at any time: versions are
written completely or not at all, and the next process goes on from the newest.

Exit status 0: nothing new for a while; 69: it cannot work now, as when Label Studio is away; 1: learning
failed by a fault. The last line that it prints says why.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Sequence

from labelloop.errors import Explained, in_one_line
from labelloop.locks import Busy, holding
from labelloop.log_lines import SHORT_LINE, TIMES
from labelloop.registry import Registry
from labelloop.studio import Studio
from trainer.env import TrainerSettings, get_settings
from trainer.peers.projects import fetch
from trainer.system.children import RETRY, die_with_parent

log = logging.getLogger(__name__)

NICENESS = 5
"""Low enough to stay behind requests; as low as scoring's, it would wait for the end of a round."""
LOOK_S = 2.0
LINGER_S = 300.0
LEFT_OVER_S = 10.0


def watch(
    learn: Callable[[int], str | None],
    projects: Sequence[int],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Calls `learn` for each project again and again, until nothing was new for LINGER_S seconds. What
    cannot be learnt in one project does not keep the others from it.

    learn: returns the version that it has made, or None.
    """
    last, given_up = clock(), set[int]()
    while clock() - last < LINGER_S and len(given_up) < len(projects):
        for project in projects:
            if project in given_up:
                continue
            began = clock()
            try:
                version = learn(project)
            except Explained as error:
                log.warning("project %d: %s", project, in_one_line(error))
                given_up.add(project)
                continue
            if version is not None:
                last = clock()
                print(f"project {project}: {version}, {last - began:.1f} s", flush=True)
        sleep(LOOK_S)


def main(arguments: list[str]) -> int:
    die_with_parent()
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    os.nice(NICENESS)
    settings = get_settings()
    logging.basicConfig(level=settings.log_level.upper(), format=SHORT_LINE, datefmt=TIMES)
    try:
        with holding(settings.rounds_dir / "instant.lock", LEFT_OVER_S):
            _watch(settings, [int(argument) for argument in arguments])
    except (Explained, Busy, OSError) as error:
        print(in_one_line(error))
        return RETRY
    return 0


def _watch(settings: TrainerSettings, projects: Sequence[int]) -> None:
    # torch and mmdet take seconds to import, in which the process must be able to end with its parent.
    from trainer.instant.learner import Learner

    studio, registry = Studio.connect(settings), Registry(settings.models_dir)
    alone = settings.model_copy(update={"threads": 1})
    learners = {project: Learner(alone, studio, registry.project(project)) for project in projects}
    watch(lambda project: learners[project].learn(fetch(studio, project)), projects)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
