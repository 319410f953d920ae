"""The container's health check, under the module name that the container engine runs."""

import sys

from trainer.health.probe import main

if __name__ == "__main__":
    sys.exit(main())
