"""Addresses of Label Studio's pages that show some of a project's images, or ask for the next one.

Label Studio's data manager takes a tab from its address, as JSON that is compressed and in base64. Such a tab
is shown to whoever follows the link, and is not stored among those that all share.
"""

import base64
import gzip
import json

from labelloop.studio import Row
from labelloop.task_filters import LABELLED, UNLABELLED


def stream(data_url: str) -> str:
    """The label stream: one image after the other, in the project's own order, most to learn first.

    The tab is one without filters or order of its own, since either of them would take the place of the
    project's order.
    """
    return f"{data_url}?labeling=1&tab={_tab('All images')}"


def waiting(data_url: str) -> str:
    """The images that nobody has labelled."""
    return f"{data_url}?tab={_tab('Waiting to be labelled', UNLABELLED)}"


def labelled(data_url: str) -> str:
    return f"{data_url}?tab={_tab('Labelled', LABELLED)}"


def _tab(title: str, *conditions: Row) -> str:
    view = {
        "title": title,
        "filters": {"conjunction": "and", "items": list(conditions)},
        "ordering": [],
    }
    packed = gzip.compress(json.dumps(view).encode(), mtime=0)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")
