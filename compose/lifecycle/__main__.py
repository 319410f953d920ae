"""`python3 compose/lifecycle VERB [NAME=VALUE …]`; the Makefile is its front."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lifecycle.verbs import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
