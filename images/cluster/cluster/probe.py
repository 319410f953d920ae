"""The health check of a machine that has joined a cluster: `python -m cluster.probe` fails and says why."""

import os
import sys

from cluster.nodes import ask
from cluster.place import Place
from labelloop.cluster_node import ALIVE
from labelloop.errors import Explained, in_one_line


def main() -> int:
    try:
        place, head = Place.of(os.environ), os.environ["CLUSTER_HEAD"]
        here = [node for node in ask(place, head) if node.is_here and node.state == ALIVE]
    except (Explained, OSError) as error:
        print(in_one_line(error))
        return 1
    print("in the cluster" if here else f"{head} does not know this machine, {place.address}")
    return 0 if here else 1


if __name__ == "__main__":
    sys.exit(main())
