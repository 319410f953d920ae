"""What a machine tells a cluster of itself, for `ray start`: `python -m trainer.cluster.announce` prints
JSON.

resources: a custom resource with the code's version in its name. Training asks for it, so that Ray never
gives work to a machine with other code. labels: the version, for people and for our messages.
"""

import json
import sys

from labelloop.cluster_node import VERSION_LABEL
from trainer.cluster.code_version import code_version

PLENTY = 1000


def resource(version: str) -> str:
    """
    >>> resource("0a1b2c")
    'labelloop-code-0a1b2c'
    """
    return f"labelloop-code-{version}"


def announcement() -> dict[str, object]:
    version = code_version()
    return {"version": version, "resources": {resource(version): PLENTY}, "labels": {VERSION_LABEL: version}}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(announcement()) + "\n")
