"""The key of a task's data under which an image comes that has none.

A file of a storage is kept under "$undefined$". Label Studio shows it under the first key in the label
config, which may be a caption's: then the page has no picture. Here it is the image tag's key.
"""

import sys
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any

from labelloop import task_value
from labelloop.labels import LabelConfigError, parse_label_config

UNDEFINED = "$undefined$"
PATCHED = "replace_task_data_undefined_with_config_field"


def give_to_image() -> None:
    """Replaces Label Studio's function in every module that has imported it, or will."""
    from core import label_config

    label_studios = getattr(label_config, PATCHED)

    def replace(data: MutableMapping[str, Any], project: Any, first_key: str | None = None) -> None:
        path = image_path(project.label_config or "") if UNDEFINED in data else None
        if path is None:
            label_studios(data, project, first_key)
        else:
            data.update(task_value.put(path, data.pop(UNDEFINED)))

    for module in list(sys.modules.values()):
        if getattr(getattr(module, PATCHED, None), "__name__", "") == PATCHED:
            setattr(module, PATCHED, replace)


@lru_cache(64)
def image_path(label_config: str) -> str | None:
    """The key, or the path, of the image on which boxes are drawn.

    None when there is no such image, or its URL is put together from several keys: Label Studio decides then.
    """
    try:
        config = parse_label_config(label_config)
    except LabelConfigError:
        return None
    return None if config.image else config.data_key
