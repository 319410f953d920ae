"""`python3 compose/lifecycle VERB [NAME=VALUE …]`; the Makefile is its front."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# The shared package: what is imported of it here asks for no more than this Python has itself.
sys.path.append(str(Path(__file__).resolve().parents[2] / "images" / "base"))

from lifecycle.verbs.table import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
