"""The API's program, under the name by which supervisord calls it."""

import sys

from trainer.api.app import main

if __name__ == "__main__":
    sys.exit(main())
