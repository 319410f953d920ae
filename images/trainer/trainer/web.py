"""The API's program, under the module name that supervisord runs."""

import sys

from trainer.api.app import main

if __name__ == "__main__":
    sys.exit(main())
