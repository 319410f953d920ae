"""What the pages of Label Studio get for `templates/labelloop/editor.js`, a script of ours.

The script stands in each page itself, by our `base.html`: what Label Studio would do without it stands at its
head.
"""

from django.http import HttpRequest

from labelloop.instructions import KEYS


def context(request: HttpRequest) -> dict[str, object]:
    """Values for templates. labelloop_keys: the keys of the labelling page, as `instructions` has them."""
    return {"labelloop_keys": KEYS}
