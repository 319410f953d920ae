"""Folders and files that systems make for themselves: what is in them is nobody's image."""

from pathlib import PurePath

# In lower case. Names with a dot in front are hidden anyway: .thumbnails, .Trash-1000, .ipynb_checkpoints.
SYSTEM_NAMES = frozenset(
    (
        "$recycle.bin",
        "#recycle",
        "#snapshot",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "@tmp",
        "__macosx",
        "__pycache__",
        "desktop.ini",
        "ehthumbs.db",
        "found.000",
        "icon\r",
        "lost+found",
        "network trash folder",
        "recycler",
        "system volume information",
        "temporary items",
        "thumbs.db",
    )
)


def is_system_name(name: str) -> bool:
    """Whether a folder or file is hidden, or one that a system makes for itself."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def is_in_system_folder(path: PurePath) -> bool:
    """Whether any part of a path is such a name."""
    return any(is_system_name(part) for part in path.parts if part != path.anchor)
