"""What every suite relies on."""

import os

# Waiting threads that spin, the default, slow one another down many times over on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# A proxy of the machine has no business in talks between programs on it.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"
