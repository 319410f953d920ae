"""The container's health check, under the name by which the engine calls it."""

import sys

from trainer.health.probe import main

if __name__ == "__main__":
    sys.exit(main())
