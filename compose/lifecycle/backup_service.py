"""The backup service's program, under the name by which its containers and supervisord call it."""

import sys

from lifecycle.backup.service import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
