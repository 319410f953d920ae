"""The worker's process: `python -m trainer.worker`. Only one at a time works on a volume."""

import logging
import signal
import sys
from types import FrameType

from labelloop.locks import Busy, holding
from labelloop.log_lines import SHORT_LINE, TIMES
from labelloop.settings import MissingSecret
from labelloop.studio import Studio
from trainer.env import get_settings
from trainer.peers.backend import Backend
from trainer.worker.worker import Worker

log = logging.getLogger(__name__)

PREVIOUS_WORKER_S = 15.0


def main() -> int:
    settings = get_settings()
    logging.basicConfig(level=settings.log_level.upper(), format=SHORT_LINE, datefmt=TIMES)
    try:
        studio, backend = Studio.connect(settings), Backend.connect(settings)
        with holding(settings.rounds_dir / "worker.lock", PREVIOUS_WORKER_S):
            worker = Worker(settings, studio, backend)

            def stop(signum: int, frame: FrameType | None) -> None:
                worker.stop()

            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, stop)
            worker.run()
    except MissingSecret as error:
        log.error("%s", error)
        return 2
    except Busy as error:
        log.error(
            "another worker runs on this volume: %s. Stop it, or give this one a LABELLOOP_HOME of its own.",
            error,
        )
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
