"""The program of the stack's own PostgreSQL, under the name by which container and supervisord call it."""

import sys

from lifecycle.database.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
