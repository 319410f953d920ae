"""Takes a model along in a process of its own: `python -m trainer.takeaway.child <project> <version> <format>
<int8>`.

version: "" for the one in service. It prints what it does, a line each; the last says what was made, or why
not.
"""

import os
import sys

from labelloop.errors import in_one_line
from trainer.env import get_settings
from trainer.loop import Loop
from trainer.system.children import die_with_parent
from trainer.takeaway.forms import Format
from trainer.takeaway.wishes import wish_of

NICENESS = 10


def main(arguments: list[str]) -> int:
    die_with_parent()
    os.nice(NICENESS)
    # torch takes seconds to import; what is wrong with the wish is told before that.
    project, version, form, int8 = arguments
    try:
        loop = Loop.connect(get_settings())
        wish = wish_of(loop, loop.project(int(project)), version or None, Format(form), int8 == "1")
        from trainer.takeaway.making import make

        models = loop.models(wish.project)
        _, checked = make(wish, models, loop.rounds, loop.settings, lambda words: print(words, flush=True))
    except Exception as error:
        print(in_one_line(error))
        return 1
    print(checked)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
