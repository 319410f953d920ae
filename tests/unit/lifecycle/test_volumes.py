import stat

from lifecycle import volumes
from lifecycle.home import Home


def test_folders_with_tokens_in_them_are_closed_to_other_users(home: Home) -> None:
    (home.volumes / "labelstudio").mkdir(parents=True, mode=0o755)
    volumes.prepare_volumes(home, None)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.volumes.iterdir()}
    assert modes["labelstudio"] == modes["backups"] == 0o700
    assert modes["images"] & 0o055, "people put their pictures there"
