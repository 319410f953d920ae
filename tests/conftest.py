"""What every suite relies on."""

import os

# Two threads beside another busy process are many times slower than one (see README, Threads).
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A proxy of the machine has no business in talks between programs on it.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
