"""Has a cluster train a round, as a round's stages do: `python -m support.cluster_round FOLDER`.

It is cancelled when FOLDER/please-cancel appears. The last line printed is the name of the error that ended
it, or `trained`, with the error's message and the seconds.
"""

import sys
import time
from pathlib import Path

from trainer.cluster.begin import on_the_cluster
from trainer.training.process import run


def main(folder: Path) -> None:
    began = time.monotonic()
    try:
        run(folder, lambda metrics: None, (folder / "please-cancel").exists, begin=on_the_cluster)
        ended, words = "trained", ""
    except Exception as error:
        ended, words = type(error).__name__, str(error)
    print(f"{ended}: {words} ({time.monotonic() - began:.1f} s)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
