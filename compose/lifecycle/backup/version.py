"""What `make up` started, noted for the backup service, which sees neither git nor the images' sources."""

from __future__ import annotations

import hashlib
import json

from lifecycle import files
from lifecycle.backup.unpack import label_studio_version
from lifecycle.home import Home
from lifecycle.inputs import inputs_hash
from lifecycle.shell import answer

_IMAGES = ("base", "labelstudio", "mlbackend", "trainer")


def note(home: Home) -> None:
    """Writes version.json: commit, whether files differ from it, hashes of the images' sources and locks."""
    commit = answer(["git", "rev-parse", "HEAD"], cwd=home.root)
    noted = {
        "commit": commit,
        "changed": bool(commit and answer(["git", "status", "--porcelain"], cwd=home.root)),
        "label_studio": label_studio_version(home),
        "images": {name: inputs_hash(home.root, [f"images/{name}"]) for name in _IMAGES},
        "locks": {
            str(lock.relative_to(home.root)): hashlib.sha256(lock.read_bytes()).hexdigest()
            for lock in sorted((home.root / "images").glob("*/*.lock"))
        },
    }
    home.running_version.parent.mkdir(parents=True, exist_ok=True)
    files.replace_text(home.running_version, json.dumps(noted, indent=1) + "\n", 0o644)
